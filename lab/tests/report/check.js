// Looks at every figure as it is laid out, and tells what is wrong to the page around.
addEventListener("load", () => {
  document.querySelectorAll("details").forEach((it) => (it.open = true));
  const wrong = [];
  let figures = 0;
  let labels = 0;
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) wrong.push(`the page is ${root.scrollWidth} wide in a window of ${innerWidth}`);
  for (const svg of document.querySelectorAll("svg.chart")) {
    const frame = svg.getBoundingClientRect();
    if (frame.width === 0) continue;
    figures += 1;
    const name = svg.querySelector("title").textContent;
    if (Math.abs(frame.width - Number(svg.getAttribute("width"))) > 0.5) wrong.push(`${name}: scaled to ${frame.width}`);
    if (frame.left < 0 || frame.right > innerWidth) wrong.push(`${name}: ends at ${frame.right} in ${innerWidth}`);
    const boxes = [...svg.querySelectorAll("text")].map((it) => [it.textContent, it, it.getBoundingClientRect()]);
    boxes.push(...[...svg.querySelectorAll("g.legend")].map((it) => ["legend", it, it.getBoundingClientRect()]));
    labels += boxes.length;
    for (const [words, element, box] of boxes) {
      if (parseFloat(getComputedStyle(element).fontSize) < 11) wrong.push(`${name}: "${words}" is too small`);
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
        wrong.push(`${name}: "${words}" stands outside`);
    }
    for (let i = 0; i < boxes.length; i++) {
      for (let j = i + 1; j < boxes.length; j++) {
        const [[first, a, one], [second, b, other]] = [boxes[i], boxes[j]];
        if (a.contains(b) || b.contains(a)) continue;
        const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
        if (wide > 0.5 && high > 0.5) wrong.push(`${name}: "${first}" and "${second}" overlap`);
      }
    }
  }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const paper = getComputedStyle(document.body).backgroundColor;
  parent.postMessage({ width: innerWidth, dark, paper, figures, labels, wrong }, "*");
});
