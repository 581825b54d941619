// Asks how far a job has come, shows it, and opens the finished page once it is done.
const place = document.querySelector("[data-progress]");
const bar = place?.querySelector("progress");
const words = place?.querySelector(".num");

async function look() {
  try {
    const answer = await fetch(place.dataset.progress, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const { state, done, total } = await answer.json();
    if (state !== "due") {
      location.reload();
      return;
    }
    if (total) {
      bar.max = total;
      bar.value = done;
      words.textContent = `${done.toLocaleString()} / ${total.toLocaleString()}`;
    }
  } catch {
    // The next look may find the server again.
  }
  setTimeout(look, 1500);
}

if (place) setTimeout(look, 800);
