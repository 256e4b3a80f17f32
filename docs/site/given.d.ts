/** What the code of the pages has without declaring it. */
import type { ChatMessage, LLM as Model } from 'octavo';

declare global {
  const LLM: typeof Model;
  /** Models, loaded. */
  const llm: Model;
  const small: Model;
  const large: Model;
  const chat: Model;
  const embedder: Model;
  const reranker: Model;
  const messages: ChatMessage[];
  const documents: string[];
  // biome-ignore lint/suspicious/noExplicitAny: in the shape that the library of the code has
  const tools: any;
  // biome-ignore lint/suspicious/noExplicitAny: of any framework
  const app: any;
}
