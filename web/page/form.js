// The form for another network. A running observer stays as it is until the new one runs.

import { byId, setText, settle } from "./format.js";
import { shown, typedIn } from "./start.js";

const FIELDS = ["network", "peers", "signer"];
const field = (name) => byId(`start-${name}`);

export class FormView {
  /**
   * @param page `isRunning()`; `asked()`, what is observed now; `join(wanted)`, which observes
   *   something else; `cancel()`, which ends a start that is under way
   */
  constructor(page) {
    this.page = page;
    byId("start-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("start-cancel").addEventListener("click", () => this.cancel());
    byId("start").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && page.isRunning()) this.cancel();
    });
    byId("change").addEventListener("click", () => {
      this.open(page.asked(), "");
      field("network").focus();
    });
  }

  /** Shows the form with these values and this error. */
  open(wanted, error) {
    const isRunning = this.page.isRunning();
    const wasOpen = !byId("start").hidden;
    byId("start").hidden = false;
    byId("live").hidden = !isRunning;
    byId("start-cancel").hidden = !isRunning;
    byId("change").setAttribute("aria-expanded", "true");
    settle();
    this.say(error, null);
    // A refused form keeps what was typed.
    if (wasOpen || !wanted) return;
    field("network").value = shown(wanted.network);
    field("peers").value = wanted.peers.join("\n");
    field("signer").value = wanted.signer ?? "";
  }

  /** Hides the form. The focus goes back to the button that opens it, if it was in the form. */
  close() {
    const hadFocus = byId("start").contains(document.activeElement);
    byId("start").hidden = true;
    byId("live").hidden = false;
    byId("change").setAttribute("aria-expanded", "false");
    this.say("", null);
    if (hadFocus) byId("change").focus();
  }

  cancel() {
    this.page.cancel();
    this.busy(false);
    this.close();
  }

  /** Shows whether an observer is being started. */
  busy(isBusy) {
    byId("start-form").setAttribute("aria-busy", String(isBusy));
    setText(byId("start-go"), isBusy ? "Starting…" : "Observe");
  }

  say(error, wrong) {
    setText(byId("start-error"), error);
    for (const name of FIELDS) {
      if (name === wrong) field(name).setAttribute("aria-invalid", "true");
      else field(name).removeAttribute("aria-invalid");
    }
    if (wrong) field(wrong).focus();
  }

  submit() {
    const values = Object.fromEntries(FIELDS.map((name) => [name, field(name).value]));
    const wanted = typedIn(values, this.page.asked());
    if (wanted.network === "") return this.say("Say which network.", "network");
    if (wanted.peers.length === 0) return this.say("Give the address of at least one gateway.", "peers");
    if (wanted.signer && !/^0x[0-9a-f]{40}$/i.test(wanted.signer)) {
      return this.say("The signer is an address: 0x and 40 hexadecimal digits.", "signer");
    }
    this.say("", null);
    return this.page.join(wanted);
  }
}
