// PortOne: its window opens over the page or after a redirect; PayPal draws a button of its own.

import { comeBack, form, onContinue, parameters, tell } from "./page.js";

const request = {
  storeId: parameters.store_id,
  channelKey: parameters.channel_key,
  billingKeyMethod: parameters.method,
  issueId: parameters.issue_id,
  issueName: parameters.issue_name,
  customer: { customerId: parameters.customer_key },
  redirectUrl: parameters.return_url,
  locale: parameters.locale,
};

function done(answer) {
  if (!answer) return; // Gone by redirect.
  const { transactionType, billingKey, code, message } = answer;
  comeBack(code ? { transactionType, code, message } : { transactionType, billingKey });
}

onContinue(async () => {
  if (!window.PortOne) {
    tell();
  } else if (parameters.ui_type) {
    form.classList.add("portone-ui-container");
    await window.PortOne.loadIssueBillingKeyUI(
      { ...request, uiType: parameters.ui_type },
      { onIssueBillingKeySuccess: done, onIssueBillingKeyFail: done },
    );
  } else {
    done(await window.PortOne.requestIssueBillingKey(request));
  }
});
