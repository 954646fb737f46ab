import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { TimeSlice } from '../../../../core/os/time-slice.ts'
import { READ, WRITE } from '../../../../protocols/mqtt/authorization/acl.ts'
import { parseAclFile } from '../../../../protocols/mqtt/authorization/acl-file.ts'
import { covers } from '../../../../protocols/mqtt/topics/topics.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const slice = new TimeSlice(new SimClock())
async function rights(text: string, user?: string, clientId = 'c'): Promise<(topic: string) => string> {
  const has = (await parseAclFile(text, slice)).compileFor({ clientId, user })
  return (topic) => `${has(topic, READ) ? 'r' : '-'}${has(topic, WRITE) ? 'w' : '-'}`
}

test('read, write and deny are apart; a deny wins wherever it stands, and patterns come behind the lines of the user', async () => {
  const text = [
    'topic read public/#',
    'user ana',
    'topic readwrite a/#',
    'topic deny a/secret/#',
    'topic read $SYS/#',
    'user bob',
    'topic write a/in',
    'user ana',
    'topic write b',
    'pattern deny a/both',
    'pattern read u/%u/+',
    'pattern write c/%c',
    'pattern deny u/%u/x',
  ].join('\n')
  const ana = await rights(text, 'ana')
  const all = (of: (topic: string) => string, topics: readonly string[]): readonly string[] => topics.map(of)
  assert.deepEqual(
    all(ana, [
      'a',
      'a/x',
      'a/secret',
      'a/secret/x',
      'a/both',
      'b',
      'c/c',
      'c/d',
      'u/ana/y',
      'u/ana/x',
      'u/bob/y',
      '$SYS/x',
      'public/x',
    ]),
    ['rw', 'rw', '--', '--', 'rw', '-w', '-w', '--', 'r-', '--', '--', 'r-', '--'],
  )
  assert.deepEqual(all(await rights(text, 'bob'), ['a/in', 'a/x', 'c/c', 'u/bob/y']), ['-w', '--', '-w', 'r-'])
  assert.deepEqual(all(await rights(text), ['public/x', 'a/in', 'c/c', 'u//y']), ['r-', '--', '-w', '--'])
  assert.deepEqual(all(await rights(text, 'nobody'), ['public/x', 'c/c', 'u/nobody/y']), ['--', '-w', 'r-'])
})

test('a name never widens a pattern', async () => {
  const text =
    'topic read own\npattern readwrite c/%c/#\npattern readwrite u/%u/#\npattern readwrite free\npattern readwrite %c/#'
  for (const odd of ['+', '#', 'a+', 'a/+', 'a#b']) {
    const byId = await rights(text, undefined, odd)
    assert.deepEqual(['own', 'free', 'c/x/y', `c/${odd}/y`].map(byId), ['r-', '--', '--', '--'], odd)
    const byUser = await rights(text, odd)
    assert.deepEqual(['free', 'u/x/y', 'c/c/y', `u/${odd}/y`].map(byUser), ['--', '--', '--', '--'], odd)
  }
  const slash = await rights(text, 'a/b', 'x/y')
  assert.deepEqual(['c/x/y/z', 'u/a/b/z', 'x/y/z', 'free'].map(slash), ['--', '--', '--', 'rw'])
  const server = await rights(text, '$SYS', '$SYS')
  assert.deepEqual(['$SYS', '$SYS/broker', '$SYS/free'].map(server), ['--', '--', '--'])
  assert.deepEqual(['c/$SYS/x', 'u/$SYS/x'].map(server), ['rw', 'rw'])
  const chained = await rights('pattern read a/%c', undefined, '%u')
  assert.deepEqual(['a/%u', 'a/'].map(chained), ['r-', '--'], 'what was put in is not read again')
})
test('a pattern that denies is not escaped by a name that cannot be put in', async () => {
  const text = 'pattern deny a/%c\npattern readwrite a/#'
  assert.equal((await rights(text, undefined, 'x'))('a/x'), '--')
  assert.equal((await rights(text, undefined, 'y'))('a/x'), 'rw')
  assert.equal((await rights(text, undefined, 'x/y'))('a/x/y'), '--')
  assert.equal((await rights(text, undefined, 'x/y'))('a/z'), '--')
  assert.equal((await rights('pattern deny %c/#\npattern read $SYS/#', undefined, '$SYS'))('$SYS/x'), '--')
})

test('fifty thousand lines: a question costs its levels, and the parsing lets traffic through', async () => {
  const lines: string[] = []
  for (let i = 0; i < 12_500; i++)
    lines.push(`topic read s/${i}/+`, `topic deny s/${i}/x`, `pattern write d%c-${i}/#`, `pattern read p/%c/${i}`)
  const text = lines.join('\n')
  let yields = 0
  const acl = await parseAclFile(text, {
    // A class with private fields; of it a parser asks what stands here.
    get due() {
      return true
    },
    hasYielded: true,
    yield: () => {
      yields++
      return Promise.resolve()
    },
  } as unknown as TimeSlice)
  assert.equal(yields, 50_000)
  const has = acl.compileFor({ clientId: 'c', user: undefined })
  assert.deepEqual(
    [has('s/12499/y', READ), has('s/12499/x', READ), has('dc-12499/a', WRITE), has('p/c/1', READ), has('p/d/1', READ)],
    [true, false, true, true, false],
  )
  const cost = (ask: (i: number) => unknown): number => {
    const startedMs = performance.now()
    for (let i = 0; i < 20_000; i++) ask(i)
    return performance.now() - startedMs
  }
  const few = (await parseAclFile(lines.slice(0, 4).join('\n'), slice)).compileFor({
    clientId: 'c',
    user: undefined,
  })
  cost((i) => few(`dc-${i % 12_500}/a`, WRITE))
  const [of4, ofAll] = [cost((i) => few(`dc-${i % 12_500}/a`, WRITE)), cost((i) => has(`dc-${i % 12_500}/a`, WRITE))]
  assert.ok(ofAll < of4 * 20 + 20, `${of4} ms with 4 lines, ${ofAll} ms with 50,000`)
})

/** As mosquitto goes through its lists, one line after the other (security_default.c). */
function decideSlowly(
  lines: readonly string[],
  who: { clientId: string; user: string | undefined },
  topic: string,
): string {
  const own: [string, string][] = []
  const patterns: [string, string][] = []
  let user: string | undefined
  for (const line of lines) {
    const [what, right, rest] = line.split(' ') as [string, string, string]
    if (what === 'user') user = right
    else if (what === 'pattern') patterns.push([right, rest])
    else if (user === who.user) own.push([right, rest])
  }
  const put = (filter: string): string | undefined =>
    filter.includes('%u') && who.user === undefined
      ? undefined
      : filter.replaceAll(/%[cu]/g, (name) => (name === '%c' ? who.clientId : who.user!))
  const decide = (list: readonly (readonly [string, string | undefined])[]): string | undefined => {
    const hit = list.filter(([, filter]) => filter !== undefined && covers(filter, topic)).map(([right]) => right)
    if (hit.includes('deny')) return 'deny'
    return hit.join()
  }
  const isAllowed = (right: string): boolean => {
    for (const list of [own, patterns.map(([r, filter]) => [r, put(filter)] as const)]) {
      const found = decide(list)
      if (found === 'deny') return false
      if (found?.split(',').some((one) => one === right || one === 'readwrite')) return true
      if (list === own && /[+#]/.test(who.clientId + (who.user ?? ''))) return false
    }
    return false
  }
  return `${isAllowed('read') ? 'r' : '-'}${isAllowed('write') ? 'w' : '-'}`
}
test('the trees decide as the lines do, one after the other', async () => {
  const level = fc.constantFrom('a', 'b', 'ana', 'dev', '')
  const filterLevel = fc.oneof({ weight: 3, arbitrary: level }, { weight: 1, arbitrary: fc.constant('+') })
  const patternLevel = fc.oneof(filterLevel, fc.constantFrom('%c', '%u', 'x%c', '%u%c'))
  const filter = (of: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    fc
      .tuple(fc.array(of, { minLength: 1, maxLength: 3 }), fc.boolean())
      .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/') || 'a')
  const right = fc.constantFrom('read', 'write', 'readwrite', 'deny')
  const line = fc.oneof(
    fc.tuple(right, filter(filterLevel)).map(([r, f]) => `topic ${r} ${f}`),
    fc.tuple(right, filter(patternLevel)).map(([r, f]) => `pattern ${r} ${f}`),
    fc.constantFrom('user ana', 'user b'),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 12 }),
      fc.record({
        clientId: fc.constantFrom('dev', 'a', 'ana', 'c+'),
        user: fc.constantFrom('ana', 'b', 'dev', undefined),
      }),
      fc.array(fc.array(fc.oneof(level, fc.constantFrom('xdev', 'anadev', 'b')), { minLength: 1, maxLength: 4 }), {
        maxLength: 8,
      }),
      async (lines, who, topics) => {
        const may = await rights(lines.join('\n'), who.user, who.clientId)
        for (const levels of topics) {
          const topic = levels.join('/') || 'a'
          assert.equal(may(topic), decideSlowly(lines, who, topic), `${topic}\n${lines.join('\n')}`)
        }
      },
    ),
    { numRuns: 500 },
  )
})
