// The list of conversations: open, delete, export, wipe.

import { locale, t } from "../reader/language.js";
import { button, byId, el, save } from "./dom.js";

export class HistoryView {
  /**
   * @param {import("./history.js").History | null} history null where the browser keeps none
   * @param {{open: (id: string) => void, gone: (id: string | null) => void}} ways `gone`: one was deleted, or all
   */
  constructor(history, ways) {
    this.history = history;
    this.ways = ways;
    this.current = "";
    byId("export").addEventListener("click", async () => {
      if (history) save(await history.exported(), `vitrine-${new Date().toISOString().slice(0, 10)}.json`);
    });
    byId("wipe").addEventListener("click", () => byId("sure").showModal());
    byId("wipe-sure").addEventListener("click", async () => {
      await history?.wipe();
      byId("sure").close();
      ways.gone(null);
    });
  }

  /** @param {string} current the id of the conversation that is open */
  async show(current) {
    this.current = current;
    const all = (await this.history?.list()) ?? [];
    byId("history-empty").hidden = all.length > 0;
    byId("history-empty").textContent = t(this.history ? "noHistory" : "noStore");
    for (const name of ["export", "wipe"]) byId(name).disabled = !all.length;
    byId("history-list").replaceChildren(...all.map((one) => this.#line(one)));
  }

  #line(/** @type {import("./conversation.js").Conversation} */ one) {
    const name = one.title || t("untitled");
    const day = new Intl.DateTimeFormat(locale(), { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
    const open = el(
      "button",
      {
        type: "button",
        class: "open",
        "aria-current": one.id === this.current ? "page" : null,
        onclick: () => this.ways.open(one.id),
      },
      el("span", { class: "name" }, name),
      el("span", { class: "quiet" }, day.format(one.updated)),
    );
    const remove = async () => {
      await this.history?.remove(one.id);
      this.ways.gone(one.id);
    };
    return el("li", {}, open, button(t("removeNamed", { name }), remove, { icon: "bin", bare: true, kind: "tool" }));
  }
}
