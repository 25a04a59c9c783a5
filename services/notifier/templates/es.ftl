### Español

admin-requested =
    .subject = { $shop }: solicitud de pago de { $amount } de { $customer }
    .introduction = { $customer } ha solicitado un pago de { $amount } en { $shop }.
    .closing = Recibes este correo porque las solicitudes de pago de { $shop } se notifican a esta dirección.

admin-digest =
    .subject =
        { $shop }: { $count ->
            [one] una solicitud de pago
           *[other] { $count } solicitudes de pago
        }
    .introduction =
        { $count ->
            [one] En poco tiempo ha llegado otra solicitud de pago a { $shop }.
           *[other] En poco tiempo han llegado otras { $count } solicitudes de pago a { $shop }. Este correo las incluye todas.
        }
    .closing = Recibes este correo porque las solicitudes de pago de { $shop } se notifican a esta dirección.

customer-requested =
    .subject = Hemos recibido tu solicitud de pago de { $amount }
    .introduction = { $shop } ha recibido tu solicitud de pago de { $amount }. El importe queda reservado hasta que se resuelva la solicitud.
    .closing = Si no has hecho esta solicitud, ponte en contacto con { $shop }. Este correo se ha enviado automáticamente.

customer-approved =
    .subject = Tu solicitud de pago de { $amount } ha sido aprobada
    .introduction = { $shop } ha aprobado tu solicitud de pago de { $amount }. A continuación se hará el pago; hasta entonces, el importe sigue reservado.
    .closing = Este correo se ha enviado automáticamente en nombre de { $shop }.

customer-paid =
    .subject = Te hemos enviado un pago de { $amount }
    .introduction = { $shop } te ha pagado { $amount }. El tiempo que tarda en llegar el dinero depende de tu banco o servicio de pago.
    .closing = Este correo se ha enviado automáticamente en nombre de { $shop }.

customer-rejected =
    .subject = Tu solicitud de pago de { $amount } ha sido rechazada
    .introduction = { $shop } ha rechazado tu solicitud de pago de { $amount }. El importe ya no está reservado y vuelve a estar disponible.
    .closing = Si tienes alguna duda, ponte en contacto con { $shop }. Este correo se ha enviado automáticamente.

customer-cancelled =
    .subject = Tu solicitud de pago de { $amount } ha sido cancelada
    .introduction = Tu solicitud de pago de { $amount } en { $shop } ha sido cancelada. El importe ya no está reservado y vuelve a estar disponible.
    .closing = Si no has cancelado esta solicitud, ponte en contacto con { $shop }. Este correo se ha enviado automáticamente.

label-customer = Cliente
label-amount = Importe
label-state = Estado
label-payout = Método de pago
label-balance = Saldo
label-available-before = Disponible antes
label-available-after = Disponible después
label-available-now = Disponible ahora
label-minimum = Importe mínimo
label-requested-at = Fecha de la solicitud
label-approved-at = Fecha de aprobación
label-paid-at = Fecha del pago
label-rejected-at = Fecha del rechazo
label-cancelled-at = Fecha de cancelación
label-payment-reference = Referencia del pago
label-request = Solicitud
label-total = Total
label-open = Abrir la solicitud
label-customer-note = Nota del cliente
label-shop-note = Nota
label-reason = Motivo

state-requested = Pendiente de aprobación
state-approved = Aprobada, aún no pagada
state-paid = Pagada
state-rejected = Rechazada
state-cancelled = Cancelada

payout-bank-account = Cuenta bancaria
payout-paypal = PayPal
payout-other = Otro
payout-hidden =
    { $count ->
        [one] (1 carácter, oculto)
       *[other] ({ $count } caracteres, ocultos)
    }
