// What the parts of a panel tell each other:
// 'summary' (counts) after each reading · 'list' when another list is shown · 'newCritical' (alerts that begin to sound)
// · 'view' (name of the page that is shown) · 'identity' (who acts) · 'tick' each second · 'closed' (the panel has left
// the page).

export function createEvents() {
  /** @type {Map<string, ((value?: any) => void)[]>} */
  const handlers = new Map();
  return {
    /**
     * @param {string} name
     * @param {(value?: any) => void} handler
     */
    on(name, handler) {
      handlers.set(name, [...(handlers.get(name) ?? []), handler]);
    },

    /**
     * @param {string} name
     * @param {unknown} [value]
     */
    emit(name, value) {
      for (const handler of handlers.get(name) ?? []) {
        try {
          handler(value);
        } catch (error) {
          console.error(error); // a fault in one part leaves the others running
        }
      }
    },
  };
}
