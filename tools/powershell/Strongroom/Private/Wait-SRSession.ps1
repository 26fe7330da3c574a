function Wait-SRSession {
    <#
    .SYNOPSIS
        Shows the progress of a session until it has ended; returns it as it is then.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)]
        [psobject] $Session
    )

    $activity = "Job $($Session.job_name)"
    try {
        while ($null -eq $Session.ended_at) {
            $totals = $Session.totals
            $percent = if ($totals.tasks -gt 1) { [math]::Floor(100 * $totals.tasks_ended / $totals.tasks) } else { -1 }
            $status = "$($Session.state): $($totals.tasks_ended) of $($totals.tasks) tasks, $($totals.items_stored) items stored"
            Write-Progress -Activity $activity -Status $status -PercentComplete $percent
            Start-Sleep -Seconds 1
            $Session = Invoke-SRRequest -Method Get -Path '/sessions/{id}' -Parameter @{ id = $Session.id }
        }
    }
    finally {
        Write-Progress -Activity $activity -Completed
    }
    $Session
}
