(() => {
  const form = document.querySelector(".filter");
  const rows = [...document.querySelectorAll("details.resource")];
  if (!form || rows.length === 0) return;
  form.classList.add("ready");
  const [text, severity] = [form.querySelector("input"), form.querySelector("select")];
  const count = form.querySelector("output");
  const apply = () => {
    const wanted = text.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = row.textContent.toLowerCase().includes(wanted) && (!severity.value || row.dataset.severities.split(" ").includes(severity.value));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
