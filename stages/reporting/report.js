"use strict";
// Images of the report enlarge, and its commands are copied. Without this script the page says the same.

const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const figure = make("figure");
const dialog = make("dialog", { className: "larger" }, figure, make("button", { type: "button", textContent: "Close" }));
dialog.setAttribute("aria-label", "Enlarged image");
dialog.addEventListener("click", (event) => {
  if (!event.target.closest("figcaption")) dialog.close(); // the path in the caption can be selected
});
const announcement = make("p", { className: "unseen" });
announcement.setAttribute("role", "status");
document.body.append(dialog, announcement);

for (const image of document.querySelectorAll("main img")) {
  const button = make("button", { type: "button", className: "enlarge" });
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-label", `Enlarge: ${image.alt}`);
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => {
    const larger = image.cloneNode();
    larger.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    figure.replaceChildren(larger, button.closest("figure").querySelector("figcaption").cloneNode(true));
    dialog.showModal();
  });
}

const copy = async (code) => {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch { // there is no clipboard in some browsers for pages that are files
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
};

for (const code of document.querySelectorAll("pre > code")) {
  const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
  button.setAttribute("aria-label", `Copy ${code.textContent.split("\n")[0]}`);
  code.after(button);
  button.addEventListener("click", async () => {
    const copied = await copy(code);
    button.textContent = copied ? "Copied" : "Selected";
    announcement.textContent = copied ? "Copied" : "Not copied, but selected: copy it with the keyboard";
    setTimeout(() => {
      button.textContent = "Copy";
      announcement.textContent = "";
    }, 2000);
  });
}
