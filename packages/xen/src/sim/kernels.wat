;; The kernels that work on a lab's one memory: copy, fill, the Internet checksum's sum, and the search for a word
;; that is not what it should be.
;; `npm run kernels --workspace @netaccel/xen` assembles this file into kernels.ts; a test compares the two.
(module
  (memory (import "lab" "memory") 1 65536 shared)

  (func (export "copy") (param $to i32) (param $from i32) (param $length i32)
    (memory.copy (local.get $to) (local.get $from) (local.get $length)))

  (func (export "fill") (param $at i32) (param $byte i32) (param $length i32)
    (memory.fill (local.get $at) (local.get $byte) (local.get $length)))

  ;; Whether each 32-bit word of `length` bytes (a multiple of 32) is `word`: 1 or 0.
  (func (export "same") (param $at i32) (param $word i32) (param $length i32) (result i32)
    (local $end i32) (local $all v128) (local $seen v128)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (local.set $all (i32x4.splat (local.get $word)))
    (block $over
      (loop $blocks ;; 32 bytes a turn
        (br_if $over (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $seen (v128.or (local.get $seen) (v128.or
          (v128.xor (local.get $all) (v128.load align=1 (local.get $at)))
          (v128.xor (local.get $all) (v128.load offset=16 align=1 (local.get $at))))))
        (local.set $at (i32.add (local.get $at) (i32.const 32)))
        (br $blocks)))
    (i32.eqz (v128.any_true (local.get $seen))))

  ;; RFC 1071: the sum is the same in either byte order but for a swap at the end, and carries may be folded
  ;; as late as one likes. So: add little-endian 32-bit words into 64-bit lanes, which cannot overflow.
  (func (export "sum") (param $at i32) (param $length i32) (param $initial i32) (result i32)
    (local $even v128) (local $odd v128) (local $one v128) (local $two v128) (local $low v128)
    (local $sum i64)
    (local.set $low (v128.const i64x2 0xffffffff 0xffffffff))

    (block $short
      (br_if $short (i32.lt_u (local.get $length) (i32.const 32)))
      (loop $blocks ;; 32 bytes a turn
        (local.set $one (v128.load align=1 (local.get $at)))
        (local.set $two (v128.load offset=16 align=1 (local.get $at)))
        (local.set $even (i64x2.add (local.get $even) (i64x2.add
          (v128.and (local.get $one) (local.get $low))
          (v128.and (local.get $two) (local.get $low)))))
        (local.set $odd (i64x2.add (local.get $odd) (i64x2.add
          (i64x2.shr_u (local.get $one) (i32.const 32))
          (i64x2.shr_u (local.get $two) (i32.const 32)))))
        (local.set $at (i32.add (local.get $at) (i32.const 32)))
        (local.set $length (i32.sub (local.get $length) (i32.const 32)))
        (br_if $blocks (i32.ge_u (local.get $length) (i32.const 32))))
      (local.set $even (i64x2.add (local.get $even) (local.get $odd)))
      (local.set $sum (i64.add
        (i64x2.extract_lane 0 (local.get $even))
        (i64x2.extract_lane 1 (local.get $even)))))

    (if (i32.and (local.get $length) (i32.const 16)) (then
      (local.set $one (v128.load align=1 (local.get $at)))
      (local.set $one (i64x2.add
        (v128.and (local.get $one) (local.get $low))
        (i64x2.shr_u (local.get $one) (i32.const 32))))
      (local.set $sum (i64.add (local.get $sum) (i64.add
        (i64x2.extract_lane 0 (local.get $one))
        (i64x2.extract_lane 1 (local.get $one)))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))))
    (if (i32.and (local.get $length) (i32.const 8)) (then
      (local.set $sum (i64.add (local.get $sum) (i64.add
        (i64.load32_u align=1 (local.get $at))
        (i64.load32_u offset=4 align=1 (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))))
    (if (i32.and (local.get $length) (i32.const 4)) (then
      (local.set $sum (i64.add (local.get $sum) (i64.load32_u align=1 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))))
    (if (i32.and (local.get $length) (i32.const 2)) (then
      (local.set $sum (i64.add (local.get $sum) (i64.load16_u align=1 (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 2)))))
    (if (i32.and (local.get $length) (i32.const 1)) (then ;; as if a zero byte followed
      (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $at))))))

    ;; 64 to 16 bits. Each step adds the upper part to the lower: at most 33, 18, 17, then 16 bits are left.
    (local.set $sum (i64.add
      (i64.and (local.get $sum) (i64.const 0xffffffff))
      (i64.shr_u (local.get $sum) (i64.const 32))))
    (local.set $sum (i64.add
      (i64.and (local.get $sum) (i64.const 0xffff))
      (i64.shr_u (local.get $sum) (i64.const 16))))
    (local.set $sum (i64.add
      (i64.and (local.get $sum) (i64.const 0xffff))
      (i64.shr_u (local.get $sum) (i64.const 16))))
    (local.set $sum (i64.add
      (i64.and (local.get $sum) (i64.const 0xffff))
      (i64.shr_u (local.get $sum) (i64.const 16))))
    ;; To network order, and the caller's sum on top: at most 33 bits again.
    (local.set $sum (i64.add
      (i64.or
        (i64.shl (i64.and (local.get $sum) (i64.const 0xff)) (i64.const 8))
        (i64.shr_u (local.get $sum) (i64.const 8)))
      (i64.extend_i32_u (local.get $initial))))
    (local.set $sum (i64.add
      (i64.and (local.get $sum) (i64.const 0xffff))
      (i64.shr_u (local.get $sum) (i64.const 16))))
    (local.set $sum (i64.add
      (i64.and (local.get $sum) (i64.const 0xffff))
      (i64.shr_u (local.get $sum) (i64.const 16))))
    (i32.wrap_i64 (i64.add
      (i64.and (local.get $sum) (i64.const 0xffff))
      (i64.shr_u (local.get $sum) (i64.const 16))))))
