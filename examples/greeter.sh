#!/bin/bash
# A program in another language: it speaks the boundary in JSON, one object per line, over the socket it inherited.
#
#   agentos starts it with AGENTOS_FD, the number of that socket. The first line it reads says who it is.
#   A call is {"call": {"call": NAME, ...}}; the answer is {"op": "response", "response": {"reply": ...} or {"refusal": ...}}.
#   When it ends, its exit status is the process's.
set -euo pipefail

ask() { # make one call, print the answer
    printf '%s\n' "$1" >&"$AGENTOS_FD"
    IFS= read -r answer <&"$AGENTOS_FD"
    printf '%s\n' "$answer"
}

IFS= read -r run <&"$AGENTOS_FD" # {"op": "run", "pid": ..., "role": ...}

ask '{"call": {"call": "note", "text": "hello from a shell"}}' >/dev/null
whoami=$(ask '{"call": {"call": "whoami"}}')
refused=$(ask '{"call": {"call": "invoke", "tool": "shell", "arguments": "0000000000000000000000000000000000000000000000000000000000000000"}}')

case $whoami in *'"reply":"self"'*) ;; *) exit 3 ;; esac
case $refused in *'"refusal":"forbidden"'*) ;; *) exit 4 ;; esac # it was given no tool, and is told so
exit 0
