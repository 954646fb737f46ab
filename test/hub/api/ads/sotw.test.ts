import { test } from 'node:test'
import assert from 'node:assert/strict'
import { SotwSession, type SotwRequest, type SotwResponse } from '../../../../hub/api/ads/sotw.ts'
import { set, SHORT, shown } from '../sets.ts'

const request = (kind: keyof typeof SHORT, more: Partial<SotwRequest> = {}): SotwRequest => ({
  typeUrl: SHORT[kind],
  names: [],
  nonce: '',
  error: undefined,
  ...more,
})
const all = (responses: readonly SotwResponse[]): string[] => responses.map(shown)

test('CDS and LDS without names are wildcards; EDS and RDS without names are silence', () => {
  const session = new SotwSession()
  const now = set('c:a=1 c:b=1 e:a=1 r:a=1')
  assert.deepEqual(all(session.request(request('c'), now).responses), ['c +a,b'])
  assert.deepEqual(
    all(session.request(request('l'), now).responses),
    ['l'],
    'an empty answer: the client waits for one',
  )
  assert.deepEqual(all(session.request(request('e'), now).responses), [])
  assert.deepEqual(all(session.request(request('r', { names: ['a', 'z'] }), now).responses), ['r +a'])
})
test('an ACK is silent, an old nonce is ignored, a NACK is told and repeats nothing', () => {
  const session = new SotwSession()
  const [first] = session.request(request('l'), set('l:in=1')).responses
  const [second] = session.push(set('l:in=2'))
  assert.deepEqual(session.request(request('l', { nonce: first!.nonce }), set('l:in=2')), {
    outcome: 'stale',
    responses: [],
  })
  assert.deepEqual(session.request(request('l', { nonce: second!.nonce, error: 'bad' }), set('l:in=2')), {
    outcome: 'nack',
    responses: [],
  })
  assert.deepEqual(session.push(set('l:in=2')), [])
  const [third] = session.push(set('l:in=3'))
  assert.deepEqual(session.request(request('l', { nonce: third!.nonce }), set('l:in=3')), {
    outcome: 'ack',
    responses: [],
  })
})
test('added names are answered with everything that is watched; removed names are silence', () => {
  const session = new SotwSession()
  const now = set('e:a=1 e:b=1')
  const [first] = session.request(request('e', { names: ['a'] }), now).responses
  const [second] = session.request(request('e', { names: ['a', 'b'], nonce: first!.nonce }), now).responses
  assert.equal(shown(second!), 'e +a,b')
  assert.deepEqual(session.request(request('e', { names: ['b'], nonce: second!.nonce }), now).responses, [])
  assert.deepEqual(session.push(set('e:a=2 e:b=1')), [], 'a is no longer watched')
})
test('an empty nonce is a new subscription and gets the full answer, whatever was before', () => {
  const session = new SotwSession()
  session.request(request('c'), set('c:a=1'))
  assert.deepEqual(all(session.request(request('c'), set('c:a=1')).responses), ['c +a'])
})
test('equal content has an equal version, other content another', () => {
  const of = (text: string): string => new SotwSession().request(request('c'), set(text)).responses[0]!.version
  assert.equal(of('c:a=1 c:b=1'), of('c:b=1 c:a=1'))
  assert.notEqual(of('c:a=1'), of('c:a=2'))
})
test('a push sends whole types in order, only those that changed, and endpoints after every change of clusters', () => {
  const session = new SotwSession()
  const now = set('c:a=1 e:a=1 l:in=1 r:x=1')
  for (const r of [request('r', { names: ['x'] }), request('l'), request('e', { names: ['a'] }), request('c')])
    session.request(r, now)
  assert.deepEqual(all(session.push(set('c:a=2 c:b=1 e:a=1 l:in=1 r:x=2'))), ['c +a,b', 'e +a', 'r +x'])
  assert.deepEqual(all(session.push(set('c:a=2 e:a=1 l:in=1 r:x=2'))), ['c +a', 'e +a'])
})
