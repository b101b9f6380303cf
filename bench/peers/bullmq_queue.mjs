// BullMQ and nodemailer: one job a message in Redis, 20 at a time, a pool of 10 connections; goes on until stopped.
import { createTransport } from "nodemailer";
import { Queue, Worker } from "bullmq";

const what = process.argv[2];
const told = Object.fromEntries(
  process.argv.slice(3).map((word, place, words) => [word.replace(/^--/, ""), words[place + 1]]).filter((_, place) => place % 2 === 0),
);
const connection = { host: "127.0.0.1", port: Number(told.store), db: 1, maxRetriesPerRequest: null };
const clinic = "Orchard Lane";
const phone = "020 7946 0100";
const hours = "Monday to Friday, 9 to 17";
const lines = ["Drink enough, and rest when you are tired.", "No sport until the day after tomorrow."];
const escape = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const text = (name) => `Hello ${name},

this is the message of ${clinic} about your visit on Tuesday 24 November. It has been two days since then, and we should like to
know how you are. Most people feel well by now; a little soreness for a day or two is usual and goes by itself.

Please ring ${phone} (${hours}) when something worries you, when you would like another time for your next visit,
or when you have a question that will not wait until then. You need not explain anything on the phone: say that you had
a message from us, and that you would like to talk.

${lines.map((line) => `- ${line}`).join("\n")}

Your next visit is on Monday 7 December at 10:30. Please bring this message, or only the date.

${clinic}
${phone}
`;

const html = (name) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(clinic)}</title></head>
<body style="margin:0;padding:24px;font-family:sans-serif;font-size:16px;line-height:1.5;color:#222">
<p>Hello ${escape(name)},</p>
<p>this is the message of <b>${escape(clinic)}</b> about your visit on Tuesday 24 November. It has been two days since then, and we should
like to know how you are. Most people feel well by now; a little soreness for a day or two is usual and goes by itself.</p>
<p>Please ring <a href="tel:${phone}">${phone}</a> (${hours}) when something worries you, when you would like
another time for your next visit, or when you have a question that will not wait until then. You need not explain
anything on the phone: say that you had a message from us, and that you would like to talk.</p>
<ul>${lines.map((line) => `<li style="margin:0 0 8px 0;padding:0">${escape(line)}</li>`).join("\n")}</ul>
<p>Your next visit is on Monday 7 December at 10:30. Please bring this message, or only the date.</p>
<p style="color:#666;font-size:14px">${escape(clinic)}<br>${phone}</p>
</body></html>
`;

if (what === "fill") {
  const queue = new Queue("mails", { connection });
  const jobs = Array.from({ length: Number(told.messages) }, (_, number) => ({ name: "send", data: { number } }));
  await queue.addBulk(jobs);
  await queue.close();
} else {
  const mailer = createTransport({
    pool: true, maxConnections: 10, maxMessages: Infinity, host: "127.0.0.1", port: Number(told.port), secure: false, ignoreTLS: true,
  });
  const work = async ({ data }) => {
    const name = `Asha ${data.number}`;
    await mailer.sendMail({
      from: "Orchard Lane <post@example.org>", to: `p${data.number}@example.org`, subject: `A message from ${clinic}`,
      text: text(name), html: html(name),
    });
  };
  const worker = new Worker("mails", work, { connection, concurrency: 20 });
  process.on("SIGTERM", async () => {
    await worker.close();
    mailer.close();
    process.exit(0);
  });
}
