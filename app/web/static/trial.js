// Korean numbers get their hyphens while one types; numbers from elsewhere are left as they are.
const country = document.querySelector(".trial-form #country");
const shapes = { registration_number: "brn", phone: "phone" };

function follow() {
  for (const [id, shape] of Object.entries(shapes)) {
    const input = document.getElementById(id);
    if (!input) continue;
    if (country.value === "KR") input.dataset.format = shape;
    else delete input.dataset.format;
  }
}

if (country) {
  follow();
  country.addEventListener("change", follow);
}
