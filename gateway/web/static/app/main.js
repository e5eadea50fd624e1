// Puts the page together: what is made once, and what happens when someone asks.

import { chooseLanguage, switchLanguage, t } from "../reader/language.js";
import { applyTheme, switchTheme } from "../reader/theme.js";
import { Announcer } from "./announcer.js";
import { CHINESE } from "./chinese.js";
import { Composer } from "./composer.js";
import { hear, messagesOf, newAnswer, newConversation, newQuestion, picturesBefore } from "./conversation.js";
import { byId } from "./dom.js";
import { Drawer } from "./drawer.js";
import { ENGLISH } from "./english.js";
import { showExamples } from "./examples.js";
import { History } from "./history.js";
import { HistoryView } from "./history_view.js";
import { bodyOf } from "./preferences.js";
import { Readiness } from "./readiness.js";
import { Failure, Server } from "./server.js";
import { Session } from "./session.js";
import { SignIn } from "./sign_in.js";
import { AnswerView, questionView } from "./turn_view.js";

/** @typedef {import("./conversation.js").Answer} Answer */
/** @typedef {import("./conversation.js").Question} Question */

const LONGEST_TITLE = 60;

class Page {
  constructor(/** @type {History | null} */ history) {
    this.session = new Session();
    this.server = new Server(this.session);
    this.readiness = new Readiness(this.server);
    this.announcer = new Announcer();
    this.drawer = new Drawer();
    this.conversation = newConversation();
    this.history = history;
    /** @type {AbortController | null} */
    this.running = null;
    this.following = true;
    /** @type {Map<string, AnswerView>} */
    this.views = new Map();
    this.composer = new Composer({ ask: (text, pictures) => this.ask(text, pictures), stop: () => this.running?.abort() });
    this.historyView = new HistoryView(history, { open: (id) => this.open(id), gone: (id) => this.gone(id) });
    this.signIn = new SignIn(this.session, this.server, (models) => this.enter(models));
    byId("new").addEventListener("click", () => this.begin());
    byId("switch-language").addEventListener("click", () => {
      switchLanguage();
      this.showAll();
    });
    byId("switch-theme").addEventListener("click", switchTheme);
    this.follow();
    byId("open-history").addEventListener("click", () => this.side(true));
    byId("close-history").addEventListener("click", () => this.side(false));
    byId("side").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.side(false));
  }

  enter(/** @type {{id: string, max_model_len: number | null, demo?: boolean}[]} */ models) {
    this.drawer.offer(models);
    this.showAll();
    this.readiness.look();
    this.composer.area.focus();
  }

  begin() {
    this.running?.abort();
    this.conversation = newConversation();
    this.side(false);
    this.showAll();
    this.composer.area.focus();
  }

  async open(/** @type {string} */ id) {
    this.running?.abort();
    const found = await this.history?.read(id);
    if (!found) return;
    for (const turn of found.turns) {
      // The page was closed while it came.
      if (turn.role === "assistant" && turn.ending === "running") {
        Object.assign(turn, { ending: "failed", failure: { kind: "lost", said: "" } });
      }
    }
    this.conversation = found;
    this.side(false);
    this.showAll();
  }

  /** On a narrow page the list of conversations slides in over the rest. */
  side(/** @type {boolean} */ open) {
    const [side, opener] = [byId("side"), byId("open-history")];
    if (side.classList.contains("open") === open) return;
    side.classList.toggle("open", open);
    opener.setAttribute("aria-expanded", String(open));
    (open ? byId("close-history") : opener).focus();
  }

  gone(/** @type {string | null} */ id) {
    if (id === null || id === this.conversation.id) this.begin();
    else this.historyView.show(this.conversation.id);
  }

  ask(/** @type {string} */ text, /** @type {import("./pictures.js").Picture[]} */ pictures) {
    if (this.running) return;
    this.conversation.turns.push(newQuestion(text, pictures));
    this.conversation.title ||= text.slice(0, LONGEST_TITLE);
    this.answerLast();
  }

  /** Ask a question of the conversation again, as it was or changed; what came after it goes. */
  askAgain(/** @type {Question} */ question, /** @type {string} */ text) {
    if (this.running || (!text && !question.pictures.length)) return;
    const { turns } = this.conversation;
    turns.splice(turns.indexOf(question));
    turns.push(newQuestion(text, question.pictures));
    this.answerLast();
  }

  /** Answer the last question. */
  async answerLast() {
    const before = [...this.conversation.turns];
    const answer = newAnswer(this.drawer.model);
    this.conversation.turns.push(answer);
    this.showTurns();
    await this.run(answer, async () => messagesOf(before));
  }

  /** Go on with an answer that broke off: the same turn grows. */
  async goOn(/** @type {Answer} */ answer) {
    if (this.running) return;
    const { turns } = this.conversation;
    const before = turns.slice(0, turns.indexOf(answer) + 1);
    Object.assign(answer, { ending: "running", failure: null });
    await this.run(answer, async () => [...(await messagesOf(before)), { role: "user", content: t("continueRequest") }]);
  }

  /** One exchange, from the request to its ending. */
  async run(/** @type {Answer} */ answer, /** @type {() => Promise<object[]>} */ messages) {
    const running = (this.running = new AbortController());
    const { conversation } = this;
    const view = () => this.views.get(answer.id);
    this.composer.setRunning(true);
    this.keep(conversation); // a page that is closed meanwhile must not lose the question
    this.announcer.begin();
    this.announcer.say(t("answering"));
    view()?.show();
    this.scroll(true);
    try {
      const body = { ...bodyOf(this.drawer.preferences, this.drawer.ids), messages: await messages() };
      await this.server.ask(body, running.signal, {
        head: (receipt) => answer.receipts.push(receipt),
        event: (event) => {
          hear(answer, event);
          view()?.refresh();
          this.announcer.hear(answer.text);
        },
      });
      // The model said why it ended before the end came: only now is it the whole.
      if (answer.ending !== "cut") answer.ending = "whole";
    } catch (error) {
      this.fail(answer, running.signal.aborted, error);
    }
    this.running = null;
    this.composer.setRunning(false);
    view()?.show();
    this.announcer.end(answer.ending === "failed" ? "" : answer.text);
    this.scroll(false);
    await this.keep(conversation);
  }

  fail(/** @type {Answer} */ answer, /** @type {boolean} */ stopped, /** @type {unknown} */ error) {
    if (stopped) {
      answer.ending = "stopped";
      return;
    }
    const failure = error instanceof Failure ? error : new Failure("lost", { message: String(error) });
    const { kind, said, retryAfter, never } = failure;
    answer.ending = "failed";
    answer.failure = { kind, said, retryAfter, never, at: Date.now() };
    if (kind === "loading" || kind === "unreachable") this.readiness.look();
  }

  async keep(/** @type {import("./conversation.js").Conversation} */ conversation) {
    conversation.updated = Date.now();
    await this.history?.keep(conversation).catch(() => undefined); // a full disk must not take the answer away
    await this.historyView.show(this.conversation.id);
  }

  showAll() {
    this.drawer.show();
    this.composer.show();
    this.showTurns();
    showExamples(this.drawer.ids, async (file, question) => {
      await this.composer.add([/** @type {File} */ (file)]);
      this.composer.area.value = question;
      this.composer.send();
    });
    byId("who").textContent = this.session.signedIn ? t("signedInAs", { name: this.session.name }) : "";
    this.historyView.show(this.conversation.id);
  }

  showTurns() {
    const { turns } = this.conversation;
    this.views.clear();
    document.body.dataset.empty = String(!turns.length);
    byId("turns").replaceChildren(...turns.map((turn) => (turn.role === "user" ? this.question(turn).article : this.answer(turn))));
    this.scroll(true);
  }

  question(/** @type {Question} */ turn) {
    return questionView(turn, { ask: (text) => this.askAgain(turn, text) });
  }

  answer(/** @type {Answer} */ turn) {
    const { turns } = this.conversation;
    const asked = /** @type {Question} */ (turns[turns.indexOf(turn) - 1]);
    const view = new AnswerView(
      turn,
      picturesBefore(turns, turn),
      {
        again: () => this.askAgain(asked, asked.text),
        goOn: () => this.goOn(turn),
        edit: () => this.edit(asked),
        signIn: () => this.signIn.leave(),
        fresh: () => this.begin(),
        settings: () => this.drawer.open(),
        ready: () => this.readiness.ready(),
      },
      this.server,
    );
    this.views.set(turn.id, view);
    return view.article;
  }

  edit(/** @type {Question} */ turn) {
    const { article, change } = this.question(turn);
    document.querySelector(`[data-turn="${turn.id}"]`)?.replaceWith(article);
    change();
  }

  /** Keep the end in sight, unless the reader has scrolled away from it. */
  scroll(/** @type {boolean} */ anyway) {
    const place = byId("scroll");
    this.following ||= anyway;
    if (this.following) requestAnimationFrame(() => place.scrollTo({ top: place.scrollHeight }));
  }

  /** Whether the reader stays at the end is decided by how they scroll, not by how the answer grows. */
  follow() {
    const place = byId("scroll");
    const stop = () => (this.following = place.scrollHeight - place.scrollTop - place.clientHeight < 80);
    for (const kind of ["wheel", "touchmove", "keydown"]) {
      place.addEventListener(kind, () => requestAnimationFrame(stop), { passive: true });
    }
    new ResizeObserver(() => this.running && this.scroll(false)).observe(byId("turns"));
  }
}

function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      const closes = /** @type {HTMLElement} */ (event.target).closest("[data-close]");
      if (closes || event.target === dialog) dialog.close();
    });
  }
}

applyTheme();
chooseLanguage({ en: ENGLISH, zh: CHINESE });
closeDialogs();
const page = new Page(await History.open().catch(() => null));
await page.signIn.begin();
