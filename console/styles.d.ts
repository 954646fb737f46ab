/** The build takes style sheets out of the script (tools/build/console-page.ts). */
declare module '*.css'
