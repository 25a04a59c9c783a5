### English, which the other languages follow: the same messages with the same variables.

admin-requested =
    .subject = { $shop }: { $customer } requests a payout of { $amount }
    .introduction = { $customer } has requested a payout of { $amount } at { $shop }.
    .closing = You receive this e-mail because this address is told of payout requests at { $shop }.

admin-digest =
    .subject =
        { $shop }: { $count ->
            [one] one payout request
           *[other] { $count } payout requests
        }
    .introduction =
        { $count ->
            [one] One more payout was requested at { $shop } in a short time.
           *[other] { $count } more payouts were requested at { $shop } in a short time. This e-mail lists them all.
        }
    .closing = You receive this e-mail because this address is told of payout requests at { $shop }.

customer-requested =
    .subject = Your payout request for { $amount } has arrived
    .introduction = { $shop } has received your payout request for { $amount }. The amount is reserved until the request is settled.
    .closing = If you did not make this request, please contact { $shop }. This e-mail was sent automatically.

customer-approved =
    .subject = Your payout request for { $amount } is approved
    .introduction = { $shop } has approved your payout request for { $amount }. The payment follows; until then the amount stays reserved.
    .closing = This e-mail was sent automatically on behalf of { $shop }.

customer-paid =
    .subject = Your payout of { $amount } has been sent
    .introduction = { $shop } has paid out { $amount } to you. When the money arrives depends on your bank or payment service.
    .closing = This e-mail was sent automatically on behalf of { $shop }.

customer-rejected =
    .subject = Your payout request for { $amount } was declined
    .introduction = { $shop } has declined your payout request for { $amount }. The amount is no longer reserved and is available again.
    .closing = If you have questions, please contact { $shop }. This e-mail was sent automatically.

customer-cancelled =
    .subject = Your payout request for { $amount } was cancelled
    .introduction = Your payout request for { $amount } at { $shop } was cancelled. The amount is no longer reserved and is available again.
    .closing = If you did not cancel this request, please contact { $shop }. This e-mail was sent automatically.

label-customer = Customer
label-amount = Amount
label-state = Status
label-payout = Payout method
label-balance = Balance
label-available-before = Available before
label-available-after = Available after
label-available-now = Available now
label-minimum = Minimum payout
label-requested-at = Requested on
label-approved-at = Approved on
label-paid-at = Paid on
label-rejected-at = Declined on
label-cancelled-at = Cancelled on
label-payment-reference = Payment reference
label-request = Request
label-total = Total
label-open = Open the request
label-customer-note = Customer’s note
label-shop-note = Note
label-reason = Reason

state-requested = Waiting for approval
state-approved = Approved, not yet paid
state-paid = Paid
state-rejected = Declined
state-cancelled = Cancelled

payout-bank-account = Bank account
payout-paypal = PayPal
payout-other = Other
payout-hidden =
    { $count ->
        [one] (1 character, hidden)
       *[other] ({ $count } characters, hidden)
    }
