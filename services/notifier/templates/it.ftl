### Italiano

admin-requested =
    .subject = { $shop }: richiesta di pagamento di { $amount } da { $customer }
    .introduction = { $customer } ha richiesto un pagamento di { $amount } presso { $shop }.
    .closing = Ricevi questa e-mail perché le richieste di pagamento di { $shop } vengono notificate a questo indirizzo.

admin-digest =
    .subject =
        { $shop }: { $count ->
            [one] una richiesta di pagamento
           *[other] { $count } richieste di pagamento
        }
    .introduction =
        { $count ->
            [one] Nel giro di poco tempo è arrivata un’altra richiesta di pagamento presso { $shop }.
           *[other] Nel giro di poco tempo sono arrivate altre { $count } richieste di pagamento presso { $shop }. Questa e-mail le elenca tutte.
        }
    .closing = Ricevi questa e-mail perché le richieste di pagamento di { $shop } vengono notificate a questo indirizzo.

customer-requested =
    .subject = Abbiamo ricevuto la tua richiesta di pagamento di { $amount }
    .introduction = { $shop } ha ricevuto la tua richiesta di pagamento di { $amount }. L’importo resta riservato finché la richiesta non è stata gestita.
    .closing = Se non hai fatto tu questa richiesta, contatta { $shop }. Questa e-mail è stata inviata automaticamente.

customer-approved =
    .subject = La tua richiesta di pagamento di { $amount } è stata approvata
    .introduction = { $shop } ha approvato la tua richiesta di pagamento di { $amount }. Il pagamento seguirà; fino ad allora l’importo resta riservato.
    .closing = Questa e-mail è stata inviata automaticamente per conto di { $shop }.

customer-paid =
    .subject = Ti abbiamo inviato un pagamento di { $amount }
    .introduction = { $shop } ti ha pagato { $amount }. I tempi di accredito dipendono dalla tua banca o dal tuo servizio di pagamento.
    .closing = Questa e-mail è stata inviata automaticamente per conto di { $shop }.

customer-rejected =
    .subject = La tua richiesta di pagamento di { $amount } è stata rifiutata
    .introduction = { $shop } ha rifiutato la tua richiesta di pagamento di { $amount }. L’importo non è più riservato ed è di nuovo disponibile.
    .closing = Per qualsiasi domanda contatta { $shop }. Questa e-mail è stata inviata automaticamente.

customer-cancelled =
    .subject = La tua richiesta di pagamento di { $amount } è stata annullata
    .introduction = La tua richiesta di pagamento di { $amount } presso { $shop } è stata annullata. L’importo non è più riservato ed è di nuovo disponibile.
    .closing = Se non hai annullato tu questa richiesta, contatta { $shop }. Questa e-mail è stata inviata automaticamente.

label-customer = Cliente
label-amount = Importo
label-state = Stato
label-payout = Metodo di pagamento
label-balance = Saldo
label-available-before = Disponibile prima
label-available-after = Disponibile dopo
label-available-now = Disponibile ora
label-minimum = Importo minimo
label-requested-at = Data della richiesta
label-approved-at = Data di approvazione
label-paid-at = Data del pagamento
label-rejected-at = Data del rifiuto
label-cancelled-at = Data di annullamento
label-payment-reference = Riferimento del pagamento
label-request = Richiesta
label-total = Totale
label-open = Apri la richiesta
label-customer-note = Nota del cliente
label-shop-note = Nota
label-reason = Motivo

state-requested = In attesa di approvazione
state-approved = Approvata, non ancora pagata
state-paid = Pagata
state-rejected = Rifiutata
state-cancelled = Annullata

payout-bank-account = Conto bancario
payout-paypal = PayPal
payout-other = Altro
payout-hidden =
    { $count ->
        [one] (1 carattere, nascosto)
       *[other] ({ $count } caratteri, nascosti)
    }
