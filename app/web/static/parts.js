// Dialogs, copy buttons and toasts.
// Without scripts a dialog opens as a popover; with them it becomes modal, which holds the focus.
for (const opener of document.querySelectorAll("[data-dialog]")) {
  const dialog = document.getElementById(opener.dataset.dialog);
  if (!dialog?.showModal) continue;
  dialog.removeAttribute("popover");
  opener.removeAttribute("popovertarget");
  opener.addEventListener("click", () => dialog.showModal());
  // What was sent from it has come back: the field at fault is shown, not only named on the page.
  const faulty = dialog.matches("[data-sent]") && dialog.querySelector("[aria-invalid]");
  if (faulty) {
    dialog.showModal();
    faulty.focus();
  }
}

document.addEventListener("click", (event) => {
  const closer = event.target.closest("[data-dialog-close]");
  const dialog = closer?.closest("dialog");
  if (dialog?.open && !dialog.hasAttribute("popover")) {
    event.preventDefault();
    dialog.close();
  } else if (event.target instanceof HTMLDialogElement && event.target.matches(":modal")) {
    // The backdrop belongs to the dialog itself; a press inside lands on something within.
    const box = event.target.getBoundingClientRect();
    const inside =
      event.clientX >= box.left && event.clientX <= box.right &&
      event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close();
  }
});

if (navigator.clipboard) {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    const words = button.querySelector(".visually-hidden");
    const name = words.textContent;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("is-copied");
      words.textContent = button.dataset.copied;
      say(button.dataset.copied, "good");
      setTimeout(() => {
        button.classList.remove("is-copied");
        words.textContent = name;
      }, 2000);
    });
  }
}

// Toasts leave on request; good news also leaves by itself, unless one is reading it.
function dress(toast) {
  const close = toast.querySelector("[data-toast-close]");
  if (close) {
    close.hidden = false;
    close.addEventListener("click", () => toast.remove());
  }
  if (!toast.matches(".tone-good, .tone-info")) return;
  const leave = () => {
    if (toast.matches(":hover, :focus-within")) setTimeout(leave, 2000);
    else toast.remove();
  };
  setTimeout(leave, 8000);
}

for (const toast of document.querySelectorAll("[data-toast]")) dress(toast);

function say(text, tone) {
  const region = document.querySelector("[data-toasts]");
  if (!region) return;
  const toast = document.createElement("div");
  toast.className = `toast tone-${tone}`;
  const words = document.createElement("p");
  words.textContent = text;
  toast.append(words);
  region.append(toast);
  setTimeout(() => toast.remove(), 3000);
}
