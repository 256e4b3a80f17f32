import { checkExpressions } from './support.js';

checkExpressions('filters.chain', 'calls', 'logic');
