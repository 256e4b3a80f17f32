import { checkExpressions } from './support.js';

checkExpressions('filters.escape', 'filters.url', 'blocks');
