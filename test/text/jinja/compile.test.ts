import { checkExpressions } from './support.js';

checkExpressions('blocks', 'generation', 'set', 'if', 'for', 'macro');
