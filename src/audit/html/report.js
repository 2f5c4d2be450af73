(() => {
  const form = document.querySelector(".filter");
  const rows = [...document.querySelectorAll("details.resource")];
  if (!form || rows.length === 0) return;
  form.classList.add("ready");
  const [text, severity] = [form.querySelector("input"), form.querySelector("select")];
  const count = form.querySelector("output");
  // Thousands of rows: their texts are gathered once, at the first question.
  let texts;
  const apply = () => {
    texts ??= rows.map((row) => row.textContent.toLowerCase());
    const wanted = text.value.toLowerCase();
    let shown = 0;
    for (const [index, row] of rows.entries()) {
      const fits = texts[index].includes(wanted) && (!severity.value || row.dataset.severities.split(" ").includes(severity.value));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  // A browser keeps what was asked for when the page is loaded again.
  if (text.value || severity.value) apply();
  else count.textContent = `${rows.length} of ${rows.length} shown`;
})();
