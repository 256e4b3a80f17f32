import { checkExpressions } from './support.js';

checkExpressions('macro');
