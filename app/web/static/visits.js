// Counts which of our buttons are pressed. Without it, or where a browser asks not to be followed,
// nothing is counted and everything works the same.
const refused = navigator.doNotTrack === "1" || navigator.globalPrivacyControl === true;

if (!refused && navigator.sendBeacon) {
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.("[data-action]");
    if (!pressed) return;
    const said = JSON.stringify({ action: pressed.dataset.action, page: location.pathname });
    navigator.sendBeacon("/_/visit", said);
  });
}
