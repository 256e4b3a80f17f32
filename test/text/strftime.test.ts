import { expect, it } from 'vitest';
import { strftime } from '../../lib/text/strftime.js';

it('writes what Python writes', () => {
  const date = new Date(2024, 6, 5, 15, 4, 9);
  expect(strftime(date, '%d %b %Y')).toBe('05 Jul 2024');
  expect(strftime(date, '%A, %B %-d, %Y')).toBe('Friday, July 5, 2024');
  expect(strftime(date, '%a %y-%m-%d %H:%M:%S %I%p %j')).toBe('Fri 24-07-05 15:04:09 03PM 187');
  expect(strftime(date, '%F %T 100%% %Q')).toBe('2024-07-05 15:04:09 100% %Q');
  expect(strftime(new Date(2024, 11, 31, 0, 0, 0), '%j %I %-M')).toBe('366 12 0');
});

it('writes all that Linux does, with its flags', () => {
  const date = new Date(2026, 10, 8, 9, 5, 7);
  const codes = '%e|%u|%w|%U|%W|%c|%x|%X|%D|%R|%r|%f|%z|%h|%G|%V|%C|%k|%l|%P|%_d|%0e|%^a|%-I';
  expect(strftime(date, codes)).toBe(
    ' 8|7|0|45|44|Sun Nov  8 09:05:07 2026|11/08/26|09:05:07|11/08/26|09:05|09:05:07 AM' +
      '|000000||Nov|2026|45|20| 9| 9|am| 8|08|SUN|9',
  );
  expect(strftime(new Date(2027, 0, 1), '%G-W%V-%u %j %g')).toBe('2026-W53-5 001 26');
});
