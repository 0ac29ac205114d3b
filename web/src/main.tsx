import { render } from "preact";
import { App } from "./app";
import { connect } from "./live/feed";

const place = document.getElementById("app");
if (place) {
  place.replaceChildren();
  render(<App />, place);
  connect();
}
