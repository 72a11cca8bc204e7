// The packages for JavaScript: OpenAI's, Mistral's, and the AI SDK in four ways. Many programs for
// chats and flows stand on one of them.

import { Mistral } from "@mistralai/mistralai";
import { createMistral } from "@ai-sdk/mistral";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const { URL, KEY } = process.env;
const HELLO = [{ role: "user", content: "Hello" }];
const FEE = [{ role: "user", content: "What is the fee?" }];
const TOWN = { type: "object", properties: { town: { type: "string" } } };
const TOOLS = ["weather", "population"].map((name) => ({
  type: "function",
  function: { name, parameters: TOWN },
}));

async function all(events) {
  const found = [];
  for await (const event of events) found.push(event);
  return found;
}

function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((chunk) => (chunk.type === "text" ? chunk.text : "")).join("");
}

async function openai() {
  const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: KEY });
  const said = await client.chat.completions.create({ model: "documents", messages: FEE });
  const calling = client.chat.completions.stream({ model: "chat", messages: HELLO, tools: TOOLS });
  const called = (await calling.finalChatCompletion()).choices[0].message.tool_calls;
  const streaming = client.responses.stream({ model: "chat", input: "Hello" });
  const file = await client.files.create({ file: new File(["x"], "a.txt"), purpose: "user_data" });
  let refused = "";
  try {
    await client.models.retrieve("none");
  } catch (problem) {
    refused = problem.constructor.name;
  }
  return {
    said: said.choices[0].message.content,
    called: called.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    responded: (await streaming.finalResponse()).output_text,
    vector: (await client.embeddings.create({ model: "vectors", input: "a" })).data[0].embedding.length,
    content: await (await client.files.content(file.id)).text(),
    refused,
  };
}

async function mistral() {
  const client = new Mistral({ apiKey: KEY, serverURL: `${URL}/mistral` });
  const said = await client.chat.complete({ model: "documents", messages: FEE });
  const stream = await client.chat.stream({ model: "chat", messages: HELLO, tools: TOOLS });
  const calls = (await all(stream)).flatMap((event) => event.data.choices[0].delta.toolCalls ?? []);
  const agent = await client.beta.agents.create({ model: "chat", name: "Clerk" });
  const talk = await client.beta.conversations.start({ agentId: agent.id, inputs: "Hello" });
  const { conversationId } = talk;
  const going = await client.beta.conversations.appendStream({
    conversationId,
    conversationAppendStreamRequest: { inputs: "More" },
  });
  const kinds = (await all(going)).map((event) => event.event);
  const history = await client.beta.conversations.getHistory({ conversationId });
  const file = await client.files.upload({ file: new File(["x"], "a.txt"), purpose: "ocr" });
  const vectors = await client.embeddings.create({ model: "vectors", inputs: ["a"] });
  return {
    said: textOf(said.choices[0].message.content),
    references: said.choices[0].message.content.some((chunk) => chunk.type === "reference"),
    called: calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    talked: textOf(talk.outputs[0].content),
    last: kinds.at(-1),
    entries: history.entries.map((entry) => entry.type),
    filled: (await client.fim.complete({ model: "chat", prompt: "1 + ", suffix: " = 3" })).choices[0]
      .message.content,
    vector: vectors.data[0].embedding.length,
    file: file.filename,
  };
}

async function aisdk(model) {
  const town = z.object({ town: z.string() });
  const weather = tool({ description: "The weather of a town.", inputSchema: town });
  const told = await generateText({ model, prompt: "Hello" });
  const called = await generateText({ model, prompt: "Hello", tools: { weather } });
  const answering = { ...weather, execute: async () => "sunny" };
  const looped = await generateText({
    model,
    prompt: "Hello",
    tools: { weather: answering },
    stopWhen: stepCountIs(3),
  });
  const messages = [...HELLO, ...looped.response.messages, { role: "user", content: "More" }];
  return {
    said: told.text,
    streamed: (await all(streamText({ model, prompt: "Hello" }).textStream)).join(""),
    typed: (await generateObject({ model, schema: town, prompt: "Where?" })).object.town,
    called: called.toolCalls.map((call) => [call.toolName, call.input]),
    counted: told.usage.outputTokens,
    looped: looped.text,
    more: (await generateText({ model, messages })).text,
  };
}

const here = { baseURL: `${URL}/v1`, apiKey: KEY };
console.log(
  JSON.stringify({
    openai: await openai(),
    mistral: await mistral(),
    aisdk: {
      responses: await aisdk(createOpenAI(here)("chat")),
      chat: await aisdk(createOpenAI(here).chat("chat")),
      compatible: await aisdk(createOpenAICompatible({ name: "casemate", ...here })("chat")),
      mistral: await aisdk(createMistral({ baseURL: `${URL}/mistral/v1`, apiKey: KEY })("chat")),
    },
  }),
);
