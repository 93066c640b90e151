// Building and updating elements. Symbols, errors and names are untrusted: they are only ever set as textContent,
// values or data-* attributes.

/**
 * The properties of an element, but none that would read a text as HTML.
 * @template {keyof HTMLElementTagNameMap} T
 * @typedef {Partial<Omit<HTMLElementTagNameMap[T], 'innerHTML' | 'outerHTML'>>} Properties
 */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string | Properties<T>} [properties] or the class alone; those of ARIA become attributes
 * @param {...(Node | string | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, properties = '', ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(typeof properties === 'string' ? { className: properties } : properties)) {
    if (name === 'className' && !value) continue;
    if (/^(aria|role)/.test(name)) node.setAttribute(name.replace('aria', 'aria-').toLowerCase(), String(value));
    else Reflect.set(node, name, value);
  }
  for (const each of children) if (each !== undefined && each !== '') node.append(each);
  return node;
}

/**
 * @param {string | undefined} className
 * @param {string | undefined} text
 * @param {((event: MouseEvent) => void) | null} [onClick] not called while the button is disabled
 */
export function makeButton(className, text, onClick) {
  const node = make('button', className, text);
  node.type = 'button';
  if (onClick) {
    node.addEventListener('click', (event) => {
      if (!isDisabled(node)) onClick(event);
    });
  }
  return node;
}

/**
 * An SVG element.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {string} [text]
 * @returns {SVGElementTagNameMap[T]}
 */
export function draw(tag, attributes = {}, text = undefined) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/**
 * @template {Element} T
 * @param {T} parent
 * @param {...(Node | string)} children
 * @returns {T} the parent
 */
export function add(parent, ...children) {
  parent.append(...children);
  return parent;
}

/**
 * Names an element for screen readers.
 * @template {Element} T
 * @param {T} node
 * @param {string} text
 * @returns {T} the element
 */
export function label(node, text) {
  node.setAttribute('aria-label', text);
  return node;
}

/**
 * Writes only what changed: a selection made with the mouse survives.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Shows items that have not changed in the elements they have: the focus and a selection stay.
 * @template Item
 * @param {HTMLUListElement} list
 * @param {Item[]} items
 * @param {(item: Item) => HTMLLIElement} build
 */
export function showItems(list, items, build) {
  const focused = list.contains(document.activeElement) ? document.activeElement?.id : undefined;
  const before = new Map(/** @type {HTMLLIElement[]} */ ([...list.children]).map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const key = JSON.stringify(item);
    const node = before.get(key) ?? build(item);
    node.dataset.key = key;
    return node;
  });
  for (const node of before.values()) if (!nodes.includes(node)) node.remove();
  nodes.forEach((node, place) => {
    if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
  });
  if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus({ preventScroll: true });
}

// aria-disabled keeps the focus on a button while its action is on its way; the disabled attribute would drop it.

/** @param {Element} button */
const isDisabled = (button) => button.getAttribute('aria-disabled') === 'true';

/**
 * @param {Element} button
 * @param {boolean} disabled
 */
export const disable = (button, disabled) => button.setAttribute('aria-disabled', String(disabled));
