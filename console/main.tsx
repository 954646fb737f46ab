import 'uplot/dist/uPlot.min.css'
import './style/base.css'
import './style/parts.css'
import { render } from 'preact'
import { App } from './app.tsx'
import { readTheme, setTheme } from './theme.ts'

setTheme(readTheme())
render(<App />, document.querySelector('#app')!)
