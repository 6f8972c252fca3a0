/** Making and changing elements. Text from the server only ever becomes text nodes. */

/** An element of a tag with classes, "p.quiet". Of its properties, functions are listeners, others attributes. */
export function make(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Only where it differs, so that nothing is announced or laid out again without need; empty: hidden. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

/** Widths are set through the CSSOM, which a content security policy without inline styles allows. */
export function setWidth(element, share) {
  element.style.width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%`;
}

const pending = new Map();
let timer = 0;

/** Say something to a screen reader; what comes within a moment is said together. A key replaces what it said before. */
export function announce(text, key = text) {
  pending.set(key, text);
  clearTimeout(timer);
  timer = setTimeout(() => {
    const said = [...pending.values()];
    byId("announcer").textContent = said.length > 3 ? `${said.length} results. The last one: ${said.at(-1)}` : said.join(". ");
    pending.clear();
  }, 500);
}
