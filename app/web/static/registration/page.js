// What every gateway's registration shares: the parameters, the button, and how a failure is told.

const place = document.getElementById("registration");
const button = place.querySelector(".actions button");
const error = document.getElementById("registration-error");

export const form = document.getElementById("registration-form");
export const parameters = JSON.parse(place.dataset.parameters);

/** Shows why it went no further; without words of the gateway's own, that it is away. */
export function tell(words) {
  error.textContent = words || place.dataset.away;
  error.hidden = false;
  button.disabled = false;
}

/** Runs `begin` at each press of the button, once at a time; it is off until somebody listens. */
export function onContinue(begin) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    error.hidden = true;
    try {
      await begin();
    } catch (failure) {
      // A closed window is an error to some scripts: the button works again either way.
      tell(failure && failure.message);
    }
  });
  button.disabled = false;
}

/** Goes back to us with what the gateway gave, as a redirect of its own would have. */
export function comeBack(given) {
  const target = new URL(parameters.return_url);
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && value !== null) target.searchParams.set(name, value);
  }
  window.location.assign(target);
}
