// Small help while typing. Every form works without it: the server checks and formats again.
// Business numbers (123-45-67890) and phone numbers, hyphens put in as people write them.
const shapes = {
  brn(digits) {
    return cut(digits.slice(0, 10), [3, 2, 5]);
  },
  phone(digits) {
    if (digits.startsWith("02")) {
      return cut(digits.slice(0, 10), digits.length > 9 ? [2, 4, 4] : [2, 3, 4]);
    }
    if (/^1[5-9]/.test(digits)) return cut(digits.slice(0, 8), [4, 4]);
    if (!digits.startsWith("0")) return null;
    return cut(digits.slice(0, 11), digits.length > 10 ? [3, 4, 4] : [3, 3, 4]);
  },
};

function cut(digits, sizes) {
  const pieces = [];
  let from = 0;
  for (const size of sizes) {
    if (from < digits.length) pieces.push(digits.slice(from, from + size));
    from += size;
  }
  return pieces.join("-");
}

function format(input) {
  const typed = input.value;
  // A number from abroad, or anything that is more than digits and separators, stays as typed.
  if (!/^[\d\s.-]*$/.test(typed)) return;
  const wanted = shapes[input.dataset.format]?.(typed.replace(/\D/g, ""));
  if (wanted === null || wanted === undefined || wanted === typed) return;
  const digitsBefore = typed.slice(0, input.selectionStart ?? typed.length).replace(/\D/g, "").length;
  input.value = wanted;
  if (document.activeElement !== input) return;
  let at = 0;
  for (let seen = 0; at < wanted.length && seen < digitsBefore; at += 1) {
    if (/\d/.test(wanted[at])) seen += 1;
  }
  if (at < wanted.length && wanted[at] === "-" && digitsBefore > 0) at += 1;
  input.setSelectionRange(at, at);
}

document.addEventListener("input", (event) => {
  const input = event.target;
  if (!input.dataset?.format) return;
  // While deleting, hyphens are left alone, or one could never get past them.
  if (event.inputType?.startsWith("delete")) return;
  format(input);
});

document.addEventListener("change", (event) => {
  if (event.target.dataset?.format) format(event.target);
});

for (const input of document.querySelectorAll("[data-format]")) format(input);

// A second click while the first is on its way sends nothing.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
});

// A page that comes back from the browser's cache may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

document.querySelector("[data-focus]")?.focus();
