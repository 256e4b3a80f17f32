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
