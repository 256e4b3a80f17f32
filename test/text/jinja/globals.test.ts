import { checkExpressions } from './support.js';

checkExpressions('globals');
