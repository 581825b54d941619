// Stands in for PortOne's browser script: the same functions, answered by the simulator's page.
(() => {
  const home = new URL(document.currentScript.src).origin;

  function address(request, mode) {
    const url = new URL("/checkout", home);
    for (const name of ["storeId", "channelKey", "billingKeyMethod", "uiType", "issueId", "issueName", "redirectUrl", "locale"]) {
      if (request[name] !== undefined) url.searchParams.set(name, request[name]);
    }
    url.searchParams.set("customerId", (request.customer && request.customer.customerId) || "");
    url.searchParams.set("mode", mode);
    url.searchParams.set("origin", window.location.origin);
    return url.href;
  }

  function inFrame(request) {
    return new Promise((resolve) => {
      const frame = document.createElement("iframe");
      frame.title = "PortOne";
      frame.src = address(request, "frame");
      Object.assign(frame.style, { position: "fixed", inset: "0", width: "100%", height: "100%", border: "0", zIndex: "1000", background: "#fff" });
      const heard = (message) => {
        if (message.origin !== home || message.source !== frame.contentWindow) return;
        window.removeEventListener("message", heard);
        frame.remove();
        resolve(message.data);
      };
      window.addEventListener("message", heard);
      document.body.append(frame);
    });
  }

  function requestIssueBillingKey(request) {
    const small = window.matchMedia("(max-width: 640px)").matches;
    if (request.forceRedirect || small) {
      window.location.assign(address(request, "redirect"));
      return new Promise(() => {});
    }
    return inFrame(request);
  }

  async function loadIssueBillingKeyUI(request, callbacks) {
    const place = document.querySelector(".portone-ui-container");
    if (request.uiType !== "PAYPAL_RT" || !place) throw new Error("uiType, portone-ui-container");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "PayPal";
    button.addEventListener("click", async () => {
      const answer = await inFrame(request);
      if (answer.code) callbacks.onIssueBillingKeyFail(answer);
      else callbacks.onIssueBillingKeySuccess(answer);
    });
    place.replaceChildren(button);
  }

  window.PortOne = { requestIssueBillingKey, loadIssueBillingKeyUI };
})();
