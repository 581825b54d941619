// The keyboard: j and k walk the rows, letters press what carries them, ? lists it all.
const rows = () => [...document.querySelectorAll("[data-row] [data-row-link]")];

function typing(target) {
  return target.closest?.("input, textarea, select, [contenteditable]") !== null;
}

function walk(step) {
  const links = rows();
  if (!links.length) return;
  const here = links.findIndex((link) => link.closest("[data-row]").contains(document.activeElement));
  const picked = links.findIndex((link) => link.closest("[data-row]").matches(".is-selected"));
  const from = here >= 0 ? here : picked;
  const to = from < 0 ? 0 : Math.min(Math.max(from + step, 0), links.length - 1);
  links[to].focus();
  links[to].closest("[data-row]").scrollIntoView({ block: "nearest" });
}

function press(key) {
  const target = [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)].find(
    (element) => element.checkVisibility?.() ?? true,
  );
  if (!target) return false;
  target.focus();
  target.click();
  return true;
}

function listKeys() {
  const dialog = document.getElementById("keys");
  for (const row of dialog.querySelectorAll("[data-keys-rows]")) row.hidden = !rows().length;
  const list = dialog.querySelector(".keys");
  for (const more of document.querySelectorAll("[data-keys-help]")) {
    list.append(...more.children);
    more.remove();
  }
  dialog.showModal();
}

const actions = {
  "?": listKeys,
  j: () => walk(1),
  k: () => walk(-1),
  "/": () => document.querySelector('input[type="search"]')?.focus(),
  Escape: () => document.querySelector("[data-key-escape]")?.click(),
};

// With a Hangul keyboard the j key says ㅓ; the letter printed on the key is what was meant.
function letter(event) {
  const hangul = event.key === "Process" || /^[ㄱ-ㅣ]$/.test(event.key);
  return hangul && /^Key[A-Z]$/.test(event.code) ? event.code[3].toLowerCase() : event.key;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog:modal, [popover]:popover-open")) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = letter(event);
  if (Object.hasOwn(actions, key)) {
    if (key === "/" || key === "?") event.preventDefault();
    actions[key]();
  } else if (/^[a-z]$/.test(key) && press(key)) {
    event.preventDefault();
  }
});
