// A page, or Node with --experimental-eventsource, that follows a service without tokens, or one
// behind a proxy that adds them: an EventSource cannot send headers. It connects again by itself.

const base = `${process.env.REGISTRY_URL}/v1/namespaces/default`;
const { incarnation } = await (await fetch(`${base}/anchor`)).json();
const events = new EventSource(`${base}/watch?after=1&incarnation=${incarnation}`);
const seen = [];

events.onmessage = ({ data, lastEventId }) => {
  if (JSON.parse(data).revision !== Number(lastEventId)) throw new Error("another id");
  seen.push(lastEventId);
  if (seen.length === 2) {
    console.log("saw", ...seen);
    events.close();
  }
};
events.addEventListener("problem", ({ data }) => {
  console.error(JSON.parse(data).detail);
  events.close();
});
