### Português

admin-requested =
    .subject = { $shop }: pedido de pagamento de { $amount } por { $customer }
    .introduction = { $customer } pediu um pagamento de { $amount } na loja { $shop }.
    .closing = Recebe este e-mail porque os pedidos de pagamento da loja { $shop } são comunicados a este endereço.

admin-digest =
    .subject =
        { $shop }: { $count ->
            [one] um pedido de pagamento
           *[other] { $count } pedidos de pagamento
        }
    .introduction =
        { $count ->
            [one] Em pouco tempo chegou mais um pedido de pagamento à loja { $shop }.
           *[other] Em pouco tempo chegaram mais { $count } pedidos de pagamento à loja { $shop }. Este e-mail apresenta-os todos.
        }
    .closing = Recebe este e-mail porque os pedidos de pagamento da loja { $shop } são comunicados a este endereço.

customer-requested =
    .subject = Recebemos o seu pedido de pagamento de { $amount }
    .introduction = A loja { $shop } recebeu o seu pedido de pagamento de { $amount }. O valor fica reservado até o pedido estar concluído.
    .closing = Se não fez este pedido, contacte a loja { $shop }. Este e-mail foi enviado automaticamente.

customer-approved =
    .subject = O seu pedido de pagamento de { $amount } foi aprovado
    .introduction = A loja { $shop } aprovou o seu pedido de pagamento de { $amount }. Segue-se o pagamento; até lá, o valor continua reservado.
    .closing = Este e-mail foi enviado automaticamente em nome da loja { $shop }.

customer-paid =
    .subject = Foi-lhe enviado um pagamento de { $amount }
    .introduction = A loja { $shop } pagou-lhe { $amount }. O tempo que o dinheiro demora a chegar depende do seu banco ou serviço de pagamento.
    .closing = Este e-mail foi enviado automaticamente em nome da loja { $shop }.

customer-rejected =
    .subject = O seu pedido de pagamento de { $amount } foi recusado
    .introduction = A loja { $shop } recusou o seu pedido de pagamento de { $amount }. O valor já não está reservado e está de novo disponível.
    .closing = Se tiver dúvidas, contacte a loja { $shop }. Este e-mail foi enviado automaticamente.

customer-cancelled =
    .subject = O seu pedido de pagamento de { $amount } foi cancelado
    .introduction = O seu pedido de pagamento de { $amount } na loja { $shop } foi cancelado. O valor já não está reservado e está de novo disponível.
    .closing = Se não cancelou este pedido, contacte a loja { $shop }. Este e-mail foi enviado automaticamente.

label-customer = Cliente
label-amount = Valor
label-state = Estado
label-payout = Método de pagamento
label-balance = Saldo
label-available-before = Disponível antes
label-available-after = Disponível depois
label-available-now = Disponível agora
label-minimum = Valor mínimo
label-requested-at = Data do pedido
label-approved-at = Data da aprovação
label-paid-at = Data do pagamento
label-rejected-at = Data da recusa
label-cancelled-at = Data do cancelamento
label-payment-reference = Referência do pagamento
label-request = Pedido
label-total = Total
label-open = Abrir o pedido
label-customer-note = Nota do cliente
label-shop-note = Nota
label-reason = Motivo

state-requested = A aguardar aprovação
state-approved = Aprovado, ainda não pago
state-paid = Pago
state-rejected = Recusado
state-cancelled = Cancelado

payout-bank-account = Conta bancária
payout-paypal = PayPal
payout-other = Outro
payout-hidden =
    { $count ->
        [one] (1 carácter, oculto)
       *[other] ({ $count } caracteres, ocultos)
    }
