import { useEffect, useState } from 'preact/hooks'
import type { DeviceRow } from '../../hub/console/schemas.ts'
import { DEVICE_STATES } from '../states.ts'
import { plural } from '../format.ts'
import { Command, Empty, Labels, Link, ProblemNote, Short, StatePill, When } from '../parts/basics.tsx'
import { VirtualList } from '../parts/virtual-list.tsx'
import { useRows } from '../parts/use-rows.ts'
import { goTo, toDevice } from '../router.ts'

const FILTERS = ['search', 'where', 'labels', 'state', 'wrong', 'namespace'] as const
const TYPING_MS = 250
const ROW_PX = { desk: 40, phone: 72 }
const PHONE = matchMedia('(max-width: 46rem)')

export function Devices({ query }: { readonly query: URLSearchParams }) {
  const isPhone = useIsPhone()
  const put = (name: string, value: string): void => {
    const next = new URLSearchParams(query)
    if (value === '') next.delete(name)
    else next.set(name, value)
    goTo(`/devices${next.size > 0 ? `?${next}` : ''}`, { replace: true })
  }
  const asked = new URLSearchParams()
  for (const name of FILTERS) if (query.get(name)) asked.set(name, query.get(name)!)
  const rows = useRows(asked.toString())
  const isFiltered = asked.size > 0
  // What is wrong with the question is told where it is asked.
  const isQuestion = rows.problem?.status === 400 && asked.get('where') !== null
  return (
    <>
      <Filters asked={asked} put={put} total={rows.total} problem={isQuestion ? rows.problem?.message : undefined} />
      {rows.problem && !isQuestion && <ProblemNote problem={rows.problem} retry={rows.reload} />}
      {rows.total === 0 ? (
        <Nothing isFiltered={isFiltered} />
      ) : (
        <VirtualList
          key={asked.toString()}
          label="Devices"
          total={rows.total ?? 0}
          rowPx={isPhone ? ROW_PX.phone : ROW_PX.desk}
          head={<Head />}
          rowAt={rows.rowAt}
          seen={rows.seen}
          keyOf={(row: DeviceRow) => row.name}
        >
          {(row) => <Cells row={row} />}
        </VirtualList>
      )}
    </>
  )
}

type FiltersProps = {
  asked: URLSearchParams
  put: (name: string, value: string) => void
  total: number | undefined
  problem: string | undefined
}

function Filters({ asked, put, total, problem }: FiltersProps) {
  const namespace = asked.get('namespace') ?? ''
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <Typed
        label="Search"
        hint="name, address, key=value"
        value={asked.get('search') ?? ''}
        put={(text) => put('search', text)}
      />
      <Typed
        label="Where"
        hint="connected=false and seen<-10m"
        value={asked.get('where') ?? ''}
        put={(text) => put('where', text)}
        problem={problem}
      />
      {asked.get('labels') !== null && (
        <button type="button" onClick={() => put('labels', '')}>
          labels {asked.get('labels')} ×
        </button>
      )}
      <label>
        State
        <select value={asked.get('state') ?? ''} onChange={({ currentTarget }) => put('state', currentTarget.value)}>
          <option value="">any</option>
          {DEVICE_STATES.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={asked.get('wrong') === 'true'}
          onChange={({ currentTarget }) => put('wrong', currentTarget.checked ? 'true' : '')}
        />
        something is wrong
      </label>
      {namespace !== '' && (
        <button type="button" onClick={() => put('namespace', '')}>
          namespace {namespace} ×
        </button>
      )}
      <span class="muted push" role="status">
        {problem !== undefined ? '' : total === undefined ? 'Loading…' : plural(total, 'device')}
      </span>
    </form>
  )
}

type TypedProps = {
  readonly label: string
  readonly hint: string
  readonly value: string
  readonly put: (text: string) => void
  readonly problem?: string | undefined
}

/** What is typed counts when the typing has paused. */
function Typed({ label, hint, value, put, problem }: TypedProps) {
  const [text, setText] = useState(value)
  useEffect(() => setText(value), [value])
  useEffect(() => {
    if (text === value) return undefined
    const timer = setTimeout(() => put(text), TYPING_MS)
    return () => clearTimeout(timer)
  }, [text])
  const id = `${label.toLowerCase()}-problem`
  return (
    <label class="search">
      {label}
      <input
        type="search"
        value={text}
        placeholder={hint}
        maxLength={label === 'Where' ? 4_096 : 253}
        {...(problem === undefined ? {} : { 'aria-invalid': true, 'aria-describedby': id })}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
      />
      {problem !== undefined && (
        <span class="bad" role="alert" id={id}>
          {problem}
        </span>
      )}
    </label>
  )
}

const Head = () => (
  <>
    {['Name', 'State', 'Since', 'Configuration', 'Certificate ends', 'Labels'].map((text) => (
      <span role="columnheader" key={text}>
        {text}
      </span>
    ))}
  </>
)

const Cells = ({ row }: { readonly row: DeviceRow }) => (
  <>
    <span role="cell" class="name">
      <Link href={toDevice(row.name)}>{row.name}</Link>
      {row.wrong.length > 0 && (
        <span class="warn" title={row.wrong.join('\n')}>
          {' '}
          <span aria-hidden="true">▲</span>
          <span class="hidden">{row.wrong.join(' ')}</span>
        </span>
      )}
    </span>
    <span role="cell">
      <StatePill state={row.state} />
    </span>
    <span role="cell" class="muted">
      <When ms={row.sinceMs} />
    </span>
    <span role="cell">
      {row.revision === null ? <span class="muted">–</span> : <Short text={row.revision} />}
      {row.refused !== null && <span class="bad"> newer refused</span>}
    </span>
    <span role="cell">
      <When ms={row.notAfterMs} />
    </span>
    <span role="cell" class="labels">
      <Labels labels={row.labels} />
    </span>
  </>
)

const Nothing = ({ isFiltered }: { readonly isFiltered: boolean }) =>
  isFiltered ? (
    <Empty title="No device is like that.">
      <p>
        <Link href="/devices">Show all devices</Link>
      </p>
    </Empty>
  ) : (
    <Empty title="No device has joined yet.">
      <p>A device joins with a token:</p>
      <Command text="meshlet-hub token create -n edge -s gateway --name gw-1 --uses 1" />
    </Empty>
  )

function useIsPhone(): boolean {
  const [isPhone, setPhone] = useState(PHONE.matches)
  useEffect(() => {
    const update = (): void => setPhone(PHONE.matches)
    PHONE.addEventListener('change', update)
    return () => PHONE.removeEventListener('change', update)
  }, [])
  return isPhone
}
