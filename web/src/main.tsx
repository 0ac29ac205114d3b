import { render } from "preact";
import { App } from "./app";
import { start } from "./live/feed";

const place = document.getElementById("app");
if (place) {
  place.replaceChildren();
  render(<App />, place);
  start();
}
