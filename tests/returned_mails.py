"""Messages as they arrive in a technical mailbox: reports in the forms of well-known servers, replies, letters.

`{to}` is where it was delivered, `{her}` the address that failed, `{message_id}` ours; all are shapes, nobody's mail.
"""

from string import Template
from typing import Final

POSTFIX: Final = """\
Return-Path: <>
Delivered-To: $to
From: MAILER-DAEMON@relay.example.org (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: $to
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="9B095B5ADSN=_01D8.1/relay.example.org"

This is a MIME-encapsulated message.

--9B095B5ADSN=_01D8.1/relay.example.org
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--9B095B5ADSN=_01D8.1/relay.example.org
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example.org
X-Postfix-Queue-ID: 9B095B5ADSN
Arrival-Date: Mon, 23 Nov 2026 18:00:00 +0000 (UTC)

Final-Recipient: rfc822; $her
Original-Recipient: rfc822;$her
Action: $action
Status: $status
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; $said

--9B095B5ADSN=_01D8.1/relay.example.org
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: Your clinic <clinic@example.org>
To: $her
Message-ID: $message_id

--9B095B5ADSN=_01D8.1/relay.example.org--
"""

EXCHANGE: Final = """\
From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.com>
To: <$to>
Content-Type: multipart/report; report-type=delivery-status;
 boundary="_a1_"
X-MS-Exchange-Message-Is-Ndr:
MIME-Version: 1.0

--_a1_
Content-Type: multipart/alternative; differences=Content-Type;
 boundary="_a1_b2_"

--_a1_b2_
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

The email address you entered couldn=92t be found.

--_a1_b2_
Content-Type: text/html; charset="us-ascii"

<html><body>The email address you entered couldn't be found.</body></html>

--_a1_b2_--
--_a1_
Content-Type: message/delivery-status

Reporting-MTA: dns;AB1PR01MB0001.example.com
Arrival-Date: Mon, 23 Nov 2026 18:00:00 +0000

Final-Recipient: rfc822;$her
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found
X-Display-Name: Amina

--_a1_
Content-Type: message/rfc822

Received: from relay.example.org
Message-ID: $message_id
To: $her
Content-Type: multipart/alternative; boundary="=_part"

--=_part
Content-Type: text/plain

Hello
--=_part--

--_a1_--
"""

QMAIL: Final = """\
Return-Path: <>
Delivered-To: $to
From: MAILER-DAEMON@mx.example.com
To: $to
Subject: failure notice

Hi. This is the qmail-send program at mx.example.com.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<$her>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Message-ID: $message_id
To: $her
"""

EXIM: Final = """\
X-Failed-Recipients: $her
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.com>
To: $to
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

  $her
    Unrouteable address
"""

DOMINO: Final = """\
Return-Path: <>
X-Original-To: $to
From: Postmaster@example.com
Subject: DELIVERY FAILURE: User not listed in Domino Directory
To: $to
Content-Type: multipart/mixed; boundary="==IFJRGLKFGIR"

--==IFJRGLKFGIR
Content-Type: text/plain

Your message could not be delivered.
--==IFJRGLKFGIR
Content-Type: message/delivery-status

Reporting-MTA: dns;example.com

Final-Recipient: rfc822;$her
Action: failed
Status: 5.1.1
--==IFJRGLKFGIR--
"""

VACATION: Final = """\
Return-Path: <>
From: <$her>
To: $to
Subject: Re: Your visit
Auto-Submitted: auto-replied (vacation)

I am away until Monday.
"""

OUT_OF_OFFICE: Final = """\
From: Amina <$her>
To: $to
Subject: Automatic reply: Your visit
Precedence: bulk

I am away.
"""

READING_RECEIPT: Final = """\
From: <$her>
To: $to
Content-Type: multipart/report; report-type=disposition-notification; boundary="r"

--r
Content-Type: text/plain

It was displayed.
--r
Content-Type: message/disposition-notification

Final-Recipient: rfc822;$her
Disposition: manual-action/MDN-sent-manually; displayed
--r--
"""

LETTER: Final = """\
From: Amina <$her>
To: $to
Subject: I cannot come on Thursday

It still hurts a lot. Please ring me.
"""

COMPLAINT: Final = """\
From: <complaints@example.com>
To: $to
Content-Type: multipart/report; report-type=feedback-report; boundary="r"

--r
Content-Type: message/feedback-report

Feedback-Type: abuse
--r--
"""

ALL: Final = (POSTFIX, EXCHANGE, QMAIL, EXIM, DOMINO, VACATION, OUT_OF_OFFICE, READING_RECEIPT, LETTER, COMPLAINT)
_USUAL: Final = {
    "to": "bounces@example.org",
    "her": "amina@example.org",
    "message_id": "<00000000000000000000000000000000@example.org>",
    "action": "failed",
    "status": "5.1.1",
    "said": "550 5.1.1 <amina@example.org>: Recipient address rejected: User unknown",
}


def filled(shape: str, **values: str) -> bytes:
    """A message of that shape, with CRLF as on the wire."""
    return Template(shape).substitute(_USUAL | values).replace("\n", "\r\n").encode("utf-8")
