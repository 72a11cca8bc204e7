// "Check it" without leaving the page: the server judges, the verdict appears below the button.

export function checkInPlace() {
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-check]");
    if (!form) return;
    event.preventDefault();
    const button = form.querySelector("button");
    const place = document.getElementById(form.dataset.check);
    button.disabled = true;
    try {
      const answer = await fetch(`${form.action}?part`, { method: "POST", redirect: "error" });
      if (!answer.ok) throw new Error(answer.statusText);
      place.innerHTML = await answer.text();
    } catch {
      form.submit(); // as a whole page, which says what is wrong
    } finally {
      button.disabled = false;
    }
  });
}
