// What a page gains from script. Everything works without it; each part wakes where it is needed.

import { follow, reach } from "./ask.js";
import { point } from "./cite.js";
import { checkInPlace } from "./receipt.js";

document.documentElement.classList.add("scripted");

const pane = document.getElementById("pane");
if (pane) point(pane);

const form = document.getElementById("ask");
if (form) {
  follow(form);
  reach(form);
}

checkInPlace();

const passage = document.getElementById("passage");
if (passage && !location.hash) passage.scrollIntoView({ block: "center" });
