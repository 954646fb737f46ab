/** Buckets over time, and which of them a request takes from. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { DescriptorEntry, LocalRateLimit } from '../../../../../model/http/rate-limit.ts'
import { LocalRateLimiter } from '../../../../../protocols/http/filters/rate-limit/limiter.ts'
import { TokenBucket } from '../../../../../protocols/http/filters/rate-limit/token-bucket.ts'
import { limitOf } from './limits.ts'

test('a bucket is full at first, fills evenly, and holds no more than it may', () => {
  const bucket = new TokenBucket({ maxTokens: 2, tokensPerFill: 1, fillMs: 1_000 }, 0)
  const taken = [0, 0, 0, 999, 1_000, 1_500, 2_000, 100_000, 100_000, 100_000].map((at) => bucket.take(at))
  assert.deepEqual(taken, [true, true, false, false, true, false, true, true, true, false])
  assert.deepEqual([bucket.waitMs(100_250), bucket.left(102_000)], [750, 2])
})

test('tokens that come in fractions add up to whole ones', () => {
  const bucket = new TokenBucket({ maxTokens: 3, tokensPerFill: 1, fillMs: 60_000 }, 0)
  for (let i = 0; i < 3; i++) bucket.take(0)
  for (let ms = 100; ms < 60_000; ms += 100) assert.equal(bucket.left(ms), 0)
  assert.equal(bucket.take(60_000), true)
})

test('a clock that goes back gives nothing', () => {
  const bucket = new TokenBucket({ maxTokens: 1, tokensPerFill: 1, fillMs: 1_000 }, 5_000)
  assert.deepEqual([bucket.take(5_000), bucket.take(0), bucket.take(900)], [true, false, false])
})

const user = (name: string): DescriptorEntry[] => [['user', name]]
const open = (more: Partial<LocalRateLimit> = {}): LocalRateLimiter =>
  new LocalRateLimiter(
    limitOf({
      descriptors: [{ entries: user(''), bucket: { maxTokens: 1, tokensPerFill: 1, fillMs: 1e9 }, isShadow: false }],
      bucket: undefined,
      maxDynamic: 2,
      ...more,
    }),
    0,
  )

test('of values that clients choose, no more are kept than may be, however long they are', () => {
  const limiter = open()
  const ask = (name: string): boolean => limiter.take([{ entries: user(name) }], 0).isAllowed
  assert.deepEqual(['a', 'a', 'b', 'a', 'c', 'b'].map(ask), [true, false, true, false, true, true])
  const long = 'x'.repeat(60_000)
  assert.deepEqual([ask(long), ask(long), ask(`${long}y`)], [true, false, true])
})

test('a value cannot pass itself off as another descriptor', () => {
  const limiter = open({
    descriptors: [
      {
        entries: [
          ['a', 'b'],
          ['c', 'd'],
        ],
        bucket: { maxTokens: 1, tokensPerFill: 1, fillMs: 1e9 },
        isShadow: false,
      },
    ],
    bucket: { maxTokens: 9, tokensPerFill: 1, fillMs: 1e9 },
    alwaysDefault: false,
  })
  const rest = (entries: DescriptorEntry[]): number | undefined => limiter.take([{ entries }], 0).bucket?.maxTokens
  assert.equal(rest([['a', 'b"],["c","d']]), 9)
  assert.equal(
    rest([
      ['a', 'b'],
      ['c', 'd'],
    ]),
    1,
  )
})

test('the slowest bucket is asked first, and a refusal takes nothing from the others', () => {
  const bucket = (tokensPerFill: number) => ({ maxTokens: 1, tokensPerFill, fillMs: 1e9 })
  const limiter = open({
    descriptors: [
      { entries: user('fast'), bucket: bucket(9), isShadow: false },
      { entries: user('slow'), bucket: bucket(1), isShadow: false },
    ],
  })
  const take = (...names: string[]): boolean =>
    limiter.take(
      names.map((name) => ({ entries: user(name) })),
      0,
    ).isAllowed
  assert.deepEqual([take('slow'), take('fast', 'slow'), take('fast')], [true, false, true])
})

test('a request counts for as many as its rule says, or gives some back', () => {
  const bucket = { maxTokens: 5, tokensPerFill: 1, fillMs: 1e9 }
  const limiter = open({ descriptors: [{ entries: user('a'), bucket, isShadow: false }] })
  const take = (hits: number, givesBack?: true): readonly [boolean, number | undefined] => {
    const taken = limiter.take([{ entries: user('a'), hits, ...(givesBack && { givesBack }) }], 0)
    return [taken.isAllowed, taken.bucket?.left(0)]
  }
  assert.deepEqual(
    [take(3), take(3), take(0), take(2), take(0), take(4, true), take(9, true)],
    [
      [true, 2],
      [false, 2],
      [true, 2],
      [true, 0],
      [true, 0],
      [true, 4],
      [true, 5],
    ],
  )
})

test('whether answers say what is left, the rule of the descriptor says that decided', () => {
  const bucket = { maxTokens: 1, tokensPerFill: 1, fillMs: 1e9 }
  const limiter = open({ descriptors: [{ entries: user('a'), bucket, isShadow: false }] })
  const take = (): boolean | undefined => limiter.take([{ entries: user('a'), tellsRest: false }], 0).tellsRest
  assert.deepEqual([take(), take()], [false, false])
  assert.equal(limiter.take([{ entries: user('b') }], 0).tellsRest, undefined)
})
