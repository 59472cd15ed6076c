// Copies a table as tab-separated text, which spreadsheets and documents both take.
function asText(table) {
  return [...table.rows]
    .map((row) => [...row.cells].map((cell) => (cell.dataset.text || cell.innerText).trim()).join("\t"))
    .join("\n");
}
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
async function copyTable(button) {
  const text = asText(button.parentElement.querySelector("table"));
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = copyBySelection(text);
  }
  button.textContent = done ? "Copied" : "Select the table and press Ctrl+C";
  setTimeout(() => (button.textContent = "Copy table"), 2500);
}
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", () => copyTable(button));
}
// What is folded away on the screen is on paper.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((fold) => (fold.open = true));
});
addEventListener("afterprint", () => opened.forEach((fold) => (fold.open = false)));
