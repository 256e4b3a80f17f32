import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  damaged,
  parseObject,
  readExactly,
  readJsonObject,
  readText,
  withFile,
} from '../../lib/model/files.js';
import { refusal, temporaryFolder, write } from '../support/write-model.js';

const folder = temporaryFolder();

it('reads texts and objects, and names the file when it cannot', async () => {
  const path = write(folder, 'a.json', { a: 1 });
  expect(await readJsonObject(path)).toEqual({ a: 1 });
  expect(await readText(path)).toBe('{"a":1}');
  expect(() => parseObject('[1]', 'x.json')).toThrow(/x\.json.*object/);
  const missing = await refusal(readJsonObject(`${path}.no`));
  expect(missing).toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' });
  expect((await refusal(readText(folder))).code).toBe('ERR_MODEL_FORMAT');
  expect(damaged('f', 'field', 'is odd').message).toBe('f: field is odd');
});

it('reads the infinity that Python writes, but not in words', () => {
  const text = '{"a": [0.0, Infinity], "b": -Infinity, "c": "Infinity \\" Infinity"}';
  const read = parseObject(text, 'x.json');
  expect(read).toEqual({ a: [0, Infinity], b: -Infinity, c: 'Infinity " Infinity' });
  expect(() => parseObject('{"a": Infinity', 'x.json')).toThrow(/the JSON is damaged/);
  expect(() => parseObject('{"a": Infinitys}', 'x.json')).toThrow(/the JSON is damaged/);
});

it('reads exactly, and closes the file whatever happens', async () => {
  const path = write(folder, 'bytes', Buffer.from('0123456789'));
  expect(await withFile(path, (f) => readExactly(f, path, 3, 4)).then(String)).toBe('3456');
  const error = await refusal(withFile(path, (f) => readExactly(f, path, 8, 4)));
  expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT' });
  for (let i = 0; i < 2000; i++)
    await refusal(withFile(path, () => Promise.reject(new Error('no'))));
});

it('what is no regular file is refused at once, a FIFO too', async () => {
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const zero = join(folder, 'zero.json');
  symlinkSync('/dev/zero', zero);
  const socket = createServer().listen(join(folder, 'socket'));
  await once(socket, 'listening');
  for (const path of [fifo, zero, join(folder, 'socket'), folder]) {
    expect(await refusal(readText(path))).toMatchObject({
      code: 'ERR_MODEL_FORMAT',
      message: `${path}: the path is not a regular file`,
    });
  }
  socket.close();
});
