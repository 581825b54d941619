// Toss Payments: its script opens its own window and comes back by redirect.

import { onContinue, parameters, tell } from "./page.js";

onContinue(async () => {
  if (typeof window.TossPayments !== "function") {
    tell();
    return;
  }
  await window
    .TossPayments(parameters.client_key)
    .payment({ customerKey: parameters.customer_key })
    .requestBillingAuth({
      method: parameters.method,
      successUrl: parameters.return_url,
      failUrl: parameters.return_url,
    });
});
