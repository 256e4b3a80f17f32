import { expect, it } from 'vitest';
import { hubName } from '../../lib/hub/names.js';

const HUB = 'https://hub.example';
const name = (text: string) => hubName(text, HUB);

it.each([
  ['org/name', 'org/name', 'main', undefined],
  ['Qwen/Qwen2.5-0.5B', 'Qwen/Qwen2.5-0.5B', 'main', undefined],
  ['org/name@v1.0', 'org/name', 'v1.0', undefined],
  ['org/name:Q4_K_M', 'org/name', 'main', 'Q4_K_M'],
  ['org/name-GGUF:sub/x-Q8_0.gguf', 'org/name-GGUF', 'main', 'sub/x-Q8_0.gguf'],
  ['org/name@refs/pr/7:Q8_0', 'org/name', 'refs/pr/7', 'Q8_0'],
  ['org/name@feature%2Fx', 'org/name', 'feature/x', undefined],
  ['hf:org/name:Q8_0', 'org/name', 'main', 'Q8_0'],
  ['hf:gpt2', 'gpt2', 'main', undefined],
  ['hf://org/name@v2/file.gguf', 'org/name', 'v2', 'file.gguf'],
  ['hf://models/org/name', 'org/name', 'main', undefined],
  ['hf.co/org/name:Q4_0', 'org/name', 'main', 'Q4_0'],
  ['https://huggingface.co/org/name', 'org/name', 'main', undefined],
  ['https://huggingface.co/org/name/', 'org/name', 'main', undefined],
  ['https://huggingface.co/org/name/tree/v1', 'org/name', 'v1', undefined],
  ['https://huggingface.co/org/name/tree/refs%2Fpr%2F3', 'org/name', 'refs/pr/3', undefined],
  ['https://hf.co/org/name/blob/main/a/b.gguf', 'org/name', 'main', 'a/b.gguf'],
  ['https://hub.example/org/name/resolve/main/b.gguf?download=true', 'org/name', 'main', 'b.gguf'],
])('%s is a name', (text, repo, revision, want) => {
  expect(name(text)).toEqual({ repo, revision, want });
});

it.each([
  ...['./org/name', '../org/name', '/org/name', '~/name', '.', '', 'name', 'org/name.gguf'],
  ...['dir/sub/model.gguf', 'a/b/c', 'org/', 'org/name/', 'org//name', 'org/na me', 'org/.hidden'],
  ...['https://example.com/org/name', 'https://huggingface.co/datasets/org/name', 'http://'],
  ...['org/name:', 'org/name@', 'hf:', 'hf:../x', 'C:\\models\\x'],
])('%j is none', (text) => {
  expect(name(text)).toBeNull();
});
