const SAID = {
  "?wrong": "This token is not known.",
  "?refused": "Signing in did not succeed. Please try again.",
  "?unreachable": "The identity provider does not answer.",
  "?norole": "Your account has no role here. Ask an operator for one.",
};
const said = SAID[location.search];
if (said) {
  const wrong = document.getElementById("wrong");
  wrong.textContent = said;
  wrong.hidden = false;
}
