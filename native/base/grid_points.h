// The points of the grids that GGUF's IQ types choose from. ggml's authors found them by search,
// and they are the format itself: Copyright (c) 2023-2026 The ggml authors, under the MIT licence
// (its text: LICENSE). The form is ours: points are numbers whose digits, the first the lowest, are
// the values' places in a list; of the ascending points of a grid stands here how far each lies
// behind the one before (the first: behind −1), as a character from ']' on; '}' is 32
// further and no point.
#pragma once

namespace octavo {

// Eight digits to base 3.
constexpr char kIq2XxsPoints[] =
    "]^^^^^^b^`^^^bb`^b^bhd^b`jzhh^n}`v^bf^b^`hf^bhb^`hjp^ft^nznb`^bh`^b^rtt}tf}}b^bfdnhb`jbhnd"
    "f}lf}nbh`hp}f|}^j}}`^bnxv`}}`}j}h^brld^}nd}l^}}l^bnj}dxp}}|th}l}}}z}p^bb`^bbd`f^bnnxd`tdtd"
    "fzbh}`lrf}x}}n^bn`}n}f`f}t|nb`b^}`btv}j}}b}}l^t}}f}b}ffb|}x}x}}jbntz}d}tz}``}}r^}j}}}}b}}}"
    "}}}r^bpxxhh}|}}d^b`jn}`|}^rpn}b}}n}}t}}fbhb}jr}d}v}npf}}t}}}}}p}h}}}}n}^rz}}f}}|}}}}}}}}d}"
    "l";
constexpr char kIq2XsPoints[] =
    "]^^^^^^^^^^^^`^^^^^^^`^b^^^`^`^f^^^^^^^^^^b^^^`^bb`^bn^^^`^bf^b`jdp^^^^^^^`^b^^^`^^`f^bn^^"
    "^`^bf^bfdx^bj`^xt^^^^^^b`b^bbhnd^^bnxbpnb}h`f^^^^^^^`^b^^^`^bd^^bn^^^`^bf^bnh^j^^`nn}`^^^`"
    "^bf^`^hbx^bn}rhr}l^b^lhpr`}j}}`}f^^^^^^^bf^bnnf^bnbl|p}^t`^bl^}rxf|hl}x`b^frpj}vhth}b`^p^^"
    "^^^^^`^b^^^^^^b`b^bn^^^`^bf^bn`ld^b^j^}r^^^`^`^f^bnhl^bhb}hfdrb}j^bn`dd}^fpbl|}}j^^^`^bb`^"
    "bnx^b`j^}pz}n^^bfdnfndb}lb}d|rdhld}^xf^}}}jt^bnhdhp^}}}bjzlj}}hn`}h}}t}p}n}|}^d}^^^^`^bd^^"
    "bn^r^^^^`nfb}bn}`^lb`^b^^jnlpz}jp}bxblrf^rd}}|}^bdf`^bnjltpx}}fpp`vbb}|}b^}h}}v}d}b}x|}`^`"
    "^fd}j}jb}^`^`pxn}`}d}}}}lppf^`}lbb}r^}j^}bl";
constexpr char kIq2SPoints[] =
    "]^^^^^^^^^^^^`^^^^^^^`^^^^^^^`^b``^^^^^^^^`^b^^^`^^^^`^`^b^^b^b^^^`^bd^^^^^`j```dd^^^^^^^`"
    "^^^^^^^^^^^^^^^b^^^^`^`^b^^^^^^^^^`^`^^^^^^^`^b^^^`^bf^^^^`j`^`^bf^bn^^^`^^^^``^^^^^^^^`^b"
    "`dj^^b^^^`d`^`^bfdnf^d`^f}^h^^^^^^^`^^`^^^`^^^^^^^`^^``^`^b^^^^^^^^^^^^`^^^^^^^`^b^^^`^l^`"
    "^`b^b`b^l^bn^^^`^^^^`^`^^^^^^^`^b^^^`^bf^^^^^^^`^b^^^`^bf^bn`^`^bf^bnv^^^^^`^`d^^^`^bf^t^^"
    "^`^bf^blrfbnj}d^^^`^^^^``^^b^^dbd`j^^b^^bd^^b^bf^bndh`^`bt^l`^^^^`^`^b^^^`^bf^bn`^`^bf^bj`"
    "x^bnl}b`b^l^bvn^^b}vrhxh^p^^^^^^^^^^^`^^^^^^^^^^^b^b`^`^b^^^`^^^^^^b^^^^^^^`^b^^^`^bf^b^^^"
    "bb`^`^bf^t^^^^^^^^^^^^`^^^^^^^`^b^^^`^bf^^^^^^^`^b^^^`^bd^^bn^^^`^bf^bnrb^`^^^^`^b^^^`^bhb"
    "n^^^`^bf^bnjj^bn}r^^^`^^^^^^^`^^^^^^^`^b^^^`^l^^^^^^^`^b^^^`^bf^bn`^`^bf^bl^x^^^^^^^`^b^^^"
    "`^bf^bn^^^`^bf^bnx^bj`}r^^^`^bf^bdfx^bn}rl}fp`^^`^^^`^b`^`^bhbn^^^`^bf^bnljbnj|d`^`^bf^bnx"
    "^bndljl}}^l^b}dphv}}p}hd^^^`^`^`b^b^^^`d`b^l^`^^^^`^b^^^`^l^bl^``^^l^b}j^^^^^^^`d^^^`^bf^b"
    "n^^^`^bf^bndp^bl^}r`b^l^b}bd^tr}pr^hnd^`^^^^bb^^^`^bf^bn`b^l^bd}b^bn}n`^^^`^bf^bnjj^bn}f`d"
    "|l}^^bj`}p^}^`}}}fn```db^^b}bbxr}^bh`^z`^l`^bn}^jbl}}}b}pl}n}jpx^f^`}`p";
constexpr char kIq1Points[] =
    "]^^^^^_a^`^ab^^da^`^aa^`^`]b^^^]ab`^`^`^^^]cb^^da^`^aa^`^abba`^^`^^__^^`^g^^dbbb``]kbbb^]]"
    "d^^d^``]]^]]^^^^^^^e_^^^^]]^j`h^b^^^_]`^bb^`g^`^aa^`^ab`da^`^aa^`^ab^`a]bd]_b^`h^^^ba^`^aa"
    "^`^abb__a^^^^aa^`^f]^`a]b^b`^`^]_h^^a_b^^^^^^^`^`b`]]]]]]^^`dd^b^l^^daa^`^^^`^db^^db`^a]^]"
    "_`a_]]^^^]]^`^^b`^_]^]]^^]_`^`^^]]^^^^^^^^]]a]]]]^]^^]]^^^]]^^]]^]]^]]^^b^]]d]]^^``^]]^^^_"
    "]]]_^]^]]b__^d`h`db^^^^`^^]]^^^bb^fj^^`^_c]]^`^]]^]]``d_]^^``^ecc^c^^^^^^``^bb`_f^`^aa^^^^"
    "abb__a^`^aa^^^^ab^`bc]`b^^^^]]daa^bba^^_a^`^ab`^bba^^_a^`^ad^^bd]]^`^^^bdb^`__hbbb^`^`^]_`"
    "^^f^_]^^^^^^ba^abbbba]ba^`df^`^aa^`^ab^fa^`^f^`^d_^`bf^`^b^^^baa^a]a^`^f^`^ab`^ba^`^aa^`^a"
    "b`dh`^^^^^^l`_``]^^^`^]]^^`^b^^^^]]^]a^^^^^`^^a]]gb^^dbf^```eafbh_eb^^^^]]a]^^^^`^^^^a]b_]"
    "^`^^]]^^``^^]]^^]^]]]]_^]]^`]]^`^]]^]a^^^__a]^^^^`^^^^_]]^]^`^^`_``]b^^db_`aca^`^`^^^bb^^^"
    "bb_]_]_]^`^^```^]]]]^^^^]_b^`^]]`^^^ll^^b^^``jfb^]]^`^`^^`^`^`^]]^b^d^b^_]`^b^]]^^]]]]^`]]"
    "^^^]]^^]]]]]]]]^^]]^`^b^]]^^``^`b^`^^d^`^^]]^`^ea^^_]`e]b^]]]]__^^^^]]^]]]^]]]]]^]]]]^^b^^"
    "^]]^_^]`^]]]]^^]]]]]^]^^]]^^]]]]]]]^]]]]]]]]]]^]]]]]^^]_]]]^]]]]_^]]^^]]]^]]_^]^]^]]]]]]]_"
    "_]]]]]]]]]]]]]^^]_`^]]]]^_`_^]]]a]]^^`^`ca^^^^]]]]^^]]ca^^^^`b_]^`^^]]^bb^]]^^]]]]]]]]^^]]"
    "^____^]]]]bd_c`]`]^b^]__]]]`^^^^c_^]]^^hd^^bdb`]]^^^^^_idb^^^`^b]_^b___]^b]_`a_^b`^h`^g]`d"
    "]]_ib`dk]^]_^`^^^^^^^^]]^]]^^d]_^^]]]]^^^`b^^^_]^j]]^^]^]]^_^]]^c^]^_]^]_^]]aabaa]]^`^^^^]"
    "]]^]`^_^^``^]]^_^_k^bbf^`^bbbada^b`b^^^^]_]]`^]]^^``_]aab^]_h`]i^`^`^^`]_cc_^b`^`^f^`^aa]^"
    "^^ba^`^aa^`^ab^^^bb^`^^^]]]a^^b_a^^ba^`^aa^`^g^`ba^`^aa^`^i`h^c_`^^`j`hb`^`b^^]_^`^]]^]a]]"
    "^^^^^^^^^dj`^bb^`]]`_]^`_abc`b^`^aa^`^^_b^`b_^^`^aa^`^a]a^^db^^^^^^`^^ff^ba^`^aa^`^ab^^i^`"
    "^aa^`^ab`]]bb`^b^^d]ab^^^bb^^^^`^^^^^^^`a]^]]^`^d^b^^`^^^bb^`bd^^^^^^d^bd^g_^^``^d`d^^]]]]"
    "^]]^d^b]]^`b^`^^]]^]]^___]^^]]^^]]]]]]]]^^]]^__^`]]]]^]]^^^^^^b`_^a^b^]_]^]^b^a]`]_]]d^^bf"
    "^bb``^^]_`]eb`^bd^^^^^^^]]^^`^^^^^^]]^`^]_^^b^^`^`deed^^^`^`hb^]]i^`^aa^`^ab^^^g^`^aa^`^a_"
    "_^^^]k^__^^^^fa^_^i`^]c``^ab`^ba^`^aa^`^mbb^b_]^^^_]]]bx^^^^^d^`^b^]]^b`^^]]^`^^lb`_^_d^__"
    "^]]_^h``]^_^^`^`^f^`^g^^^g^`^aa^`^ad`__bd``^`^gai^`^f^`^g^^i^`^aa^`^";
// Four digits to base 8.
constexpr char kIq3XxsPoints[] =
    "]^^a^`]^ceu^`^a^c`_^cghd^^ac^c^`fbj`b]^g}_opagh^`bol}osp`^qjl^a^c^a^^g]t^cc^}k^a^cc}^b^jei"
    "lg`}_}d`noh}}ij|^c^a^`_e{^^_^ccw`]d^cb]^i]ipc`}h`}]jtpfw}}a^gsxc^c^qiab^jeg^w^aiqlkn}ykobb"
    "hw{nq}dqpgj^h`}}ipk]lbmz{}ag}]jq}}i_^j}nssdbls{j|d}eyg`}_ds}}k}hj}nl^jy|z}a}`b}}b}]}a}m}dj"
    "}n^^]nl}hf}fwarijq}]l{^n}}`";
constexpr char kIq3SPoints[] =
    "]]]_^]]]^^^]`ba^_^^^a^c__]]]^`]`__`^`ci`ab]`^]___`_`b_^^^i_db`_^c^_b`^i^`_g`^_bb_bkf^h^`ab"
    "`^kag_^jmkc^^h^`ai`p]]^`]^^^]^c_^j^_eb]^_^`ac_bc^jb^f_^]`bb_f_fc__]_bb]`ambg^a^i^c`^`qc_bc"
    "^k}c`_i^w^a^ch`mbd]^^^]^^^_^`]^c^^_^i]_^_^b_`__`_bct__f^ac^f`f_`^_`e^a^cbjgbe_c_`u_caei]gi"
    "d^afx`p`i^gavc^^^_c^^a^_^fbd^^ca^ilf`^fbf^huc`a^`]e^`bjdba`cmb`ic^gaffioo|^i^g}_`bb`__cclf"
    "a^^cbabb`p^aa`fak_bha^a^c`}_^ng]uh^f}]umptaggbub`bj`__hba^^ace|befabisa]kiahbb_hfh}`ho^}s|"
    "^j}s^^h^qllcyrnbgabdhak}qjkj_upqw}e^}q`_e^h^hblcgk^x_`b_cmut_jr`bat}fl|s}c";

}  // namespace octavo
