/** Streamed text at the pace of its reader. */

export type ProfileName = "reading" | "listening" | "none";

/** What a reader expects: the first token within `ttftS` seconds, then `tds` tokens/s. */
export interface Expectation {
  ttftS: number;
  tds: number;
}

export const PROFILES: Readonly<
  Record<ProfileName, Readonly<{ ttftS: number; tds: number | null }>>
>;

export interface PageOptions {
  /** Names pace and TTFT both; default `reading`. `none` shows text as it comes. */
  profile?: ProfileName;
  /** The reader's pace, tokens/s (0.01 to 1000), instead of the profile's; null: as it comes. */
  tds?: number | null;
  /** When the reader expects the first token, seconds (0.01 to 600); scores only. */
  ttftS?: number;
  /** How many times the pace, at most, after a stall (1 to 10); default 1.5. */
  catchUp?: number;
  /** Text left when the stream ends: `pace` (default) goes on, `flush` shows it at once. */
  atEnd?: "flush" | "pace";
  /** Never show a part of a word; default false. */
  words?: boolean;
  /** Seconds (0 to 60) that a last character is held which may go on; default 0.1. */
  holdS?: number;
}

export interface FeedbackOptions {
  /** Where to post: `/v1/qoe`, or another origin's. */
  url: string;
  /** What the service calls the stream; by default the id of its chunks. */
  requestId?: string;
  /** Such as `authorization`. */
  headers?: Record<string, string>;
  fetch?: typeof fetch;
}

/** What pauses a stream; a `document` is one. */
export interface Visibility {
  readonly visibilityState: string;
  addEventListener(type: "visibilitychange", listener: () => void): void;
  removeEventListener(type: "visibilitychange", listener: () => void): void;
}

export interface PacedOptions extends PageOptions {
  /** Tells the service of pauses and of other paces; by default it is told nothing. */
  feedback?: FeedbackOptions;
  /** Pauses while this is hidden; default `document` where there is one. null: never. */
  visibility?: Visibility | null;
  /** Stops reading; whoever waits for text gets its reason. */
  signal?: AbortSignal;
  /** `performance.now()` when the request was sent; default: now. */
  sentAtMs?: number;
}

/** Seconds since the request was sent, one number a token. */
export interface Log {
  delivered: readonly number[];
  shown: readonly number[];
}

/** Area QoE, 0 to 1, so far; pauses do not count. */
export interface Qoe {
  /** Of the tokens as they came. */
  delivered: number;
  /** Of the tokens as they were shown. */
  shown: number;
}

export interface Paced extends AsyncIterable<string> {
  readonly log: Log;
  readonly qoe: Qoe;
  /** Tokens that came and were not shown. */
  readonly bufferTokens: number;
  readonly isPaused: boolean;
  /** Whom feedback is about; null before the first token, or without feedback. */
  readonly requestId: string | null;
  pause(): void;
  resume(): void;
  /** Show all that has come now, and the rest as it comes; a pause is over. */
  skipToEnd(): void;
  /** Go on at another pace, tokens/s; null shows text as it comes. */
  speed(tds: number | null): void;
  /** Close the connection and end the text; leaving `for await` does the same. */
  cancel(): void;
}

/** The part of an OpenAI chunk that is read: of a chat or of a completion. */
export interface Chunk {
  id?: string;
  choices?: ReadonlyArray<{
    delta?: {
      content?: string | null;
      refusal?: string | null;
      reasoning_content?: string | null;
      reasoning?: string | null;
      tool_calls?: unknown;
    };
    text?: string;
    finish_reason?: string | null;
    token_ids?: readonly number[] | null;
    logprobs?: { content?: readonly unknown[] | null; tokens?: readonly unknown[] | null } | null;
  }>;
  usage?: {
    completion_tokens?: number;
    completion_tokens_details?: { reasoning_tokens?: number | null } | null;
  } | null;
}

/** A fetch answer or a byte stream of server-sent events, or texts or chunks. */
export type Source =
  | Response
  | ReadableStream<Uint8Array>
  | ReadableStream<string | Chunk>
  | AsyncIterable<string | Chunk>
  | Iterable<string | Chunk>;

/**
 * Show the text of `source` at its reader's pace: the first token at once, whole characters
 * only, and after a stall no jump.
 *
 * The iterator throws a `StreamError` if the service answers or ends with an error, and what
 * the connection throws if it breaks: in either case after what had come was shown.
 *
 * @throws {RangeError} An option is out of range.
 */
export function paced(source: Source | Promise<Source>, options?: PacedOptions): Paced;

/** The service answered with an error, or ended its stream with one, or without an end. */
export class StreamError extends Error {
  constructor(message: string, status?: number | null);
  readonly status: number | null;
}

export interface Delta {
  text: string;
  /** Null: nobody counted them. */
  tokens: number | null;
  /** Of all the text so far, where a chunk says that and not `tokens`. */
  allTokens: number | null;
  id: string | null;
}

/** The text in whatever streams it, as it comes; `stop` closes the connection. */
export function deltas(
  source: Source | Promise<Source>,
  stop?: AbortSignal,
): AsyncGenerator<Delta, void, void>;

/** The rule without a clock: times are seconds since the request, in order. */
export class Page {
  constructor(options?: PageOptions);
  readonly log: Log;
  readonly qoe: Qoe;
  readonly isDone: boolean;
  readonly isPaused: boolean;
  readonly tokensLeft: number;
  /** Without `tokens` they are estimated from the text. */
  push(t: number, text: string, tokens?: number | null): void;
  /** All the text so far is made of `tokens` tokens. */
  recount(t: number, tokens: number): void;
  end(): void;
  flush(t: number): void;
  pause(t: number): void;
  resume(t: number): void;
  speed(t: number, tds: number | null): void;
  /** The text to show now, often empty. */
  look(t: number): string;
  /** When to look next, unless something happens before; null: not by waiting. */
  nextAt(): number | null;
  slackS(t: number): number;
}

export function areaQoe(atS: readonly number[], expectation: Expectation): number;
export function stallS(atS: readonly number[], tds: number): number;
export function readingTimes(atS: readonly number[], tds: number): number[];
export function readArea(atS: readonly number[], endS: number, tds: number): number;
export function expectedArea(endS: number, tokens: number, expectation: Expectation): number;
